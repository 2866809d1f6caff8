// What the page takes of Vega: its parser, runtime, SVG renderer and the transforms that Vega-Lite compiles to, with
// the interpreter in the place of generated code. Built into vega.js as README.md says.
import { extend } from "vega-util";
import { transforms } from "vega-dataflow";
import * as general from "vega-transforms";
import * as view from "vega-view-transforms";
import * as encode from "vega-encode";
import { View } from "vega-view";
import { parse } from "vega-parser";
import { expressionInterpreter } from "vega-interpreter";

extend(transforms, general, view, encode);
globalThis.vega = { View, parse, expressionInterpreter };
