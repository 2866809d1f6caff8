"""What the transforms of a MONAI bundle do to its images, read as data: as settings, and as sentences where they cannot
be followed.

Followed are Orientation, Spacing, the crop or pad, Resize and ScaleIntensityRange, in this order; the last may come
anywhere. Each is what MONAI's own does (`Preparation.resample` = "monai").
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steadyread.models.format import Settings, whole

_ORDER = {"Orientation": 0, "Spacing": 1, "CenterSpatialCrop": 2, "SpatialPad": 2, "ResizeWithPadOrCrop": 2,
          "Resize": 3}
_CROPS = {"CenterSpatialCrop": "roi_size", "SpatialPad": "spatial_size", "ResizeWithPadOrCrop": "spatial_size"}
_PADS = {"method": ("symmetric",), "mode": ("constant",)}
# What is followed of their options, the first of these values where it is another; others do not matter here.
_FOLLOWED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "Orientation": {"labels": (None, [["L", "R"], ["P", "A"], ["I", "S"]])},
    "Spacing": {"diagonal": (False,), "mode": ("bilinear",), "padding_mode": ("border",), "scale_extent": (False,),
                "min_pixdim": (None,), "max_pixdim": (None,)},
    "CenterSpatialCrop": {}, "SpatialPad": _PADS, "ResizeWithPadOrCrop": _PADS,
    "Resize": {"size_mode": ("all",), "mode": ("area", "bilinear", "trilinear", "nearest-exact"),
               "align_corners": (None, False), "anti_aliasing": (False,)},
    "ScaleIntensityRange": {}}
_MODES = {"bilinear": "plain", "trilinear": "plain", "nearest-exact": "nearest"}
# Steps that leave the values and their places as they are.
_NEUTRAL = frozenset({"LoadImage", "EnsureChannelFirst", "EnsureType", "AddChannel", "AsChannelFirst", "CastToType",
                      "ToTensor", "ToDevice", "Identity", "SelectItems", "DeleteItems", "CopyItems", "Compose"})
_EACH = ("mode", "padding_mode")     # options that may be listed for each key
_DEPTH = 8


@dataclass(frozen=True)
class Step:
    """A transform: the name of its class without the d of dictionaries, and its options as plain values."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Read:
    """The settings that follow from the transforms, and a sentence for each thing that cannot be followed."""

    settings: Settings
    differs: tuple[str, ...]


def read_steps(config: Mapping[str, Any], axes: int | None) -> Read | None:
    """What a bundle's configuration does to its images; None where it holds no transforms that are followed. `axes` of
    space that the images have, where it is known."""
    for listed in _lists(config):
        steps, differs = _understood(listed, config)
        if any(step.name in _FOLLOWED for step in steps):
            return _followed(steps, differs, axes)
    return None


def _followed(steps: Sequence[Step], differs: list[str], axes: int | None) -> Read:
    named = {step.name: step for step in steps if step.name in _FOLLOWED}
    for step in named.values():
        differs += _other_options(step)
    placed = [step.name for step in steps if step.name in _ORDER]
    ordered = sorted(placed, key=lambda name: _ORDER[name])
    if placed != ordered:
        differs.append(f"its transforms come in the order {', '.join(placed)}, and are followed in the order "
                       f"{', '.join(ordered)}")
    for name in named:
        if sum(step.name == name for step in steps) > 1:
            differs.append(f"its {name} comes more than once, and only the last is followed")
    model, scale, window = _scale(named, differs)
    data, turned = _turned(steps, named, axes, differs)
    preparation = _spacing(named, turned, differs) | _crop(steps, scale, window, differs) | _size(named, differs)
    preparation |= _clip(steps, window, differs)
    told = {"model": model, "preparation": preparation, "data": data}
    return Read({key: stated for key, stated in told.items() if stated}, tuple(differs))


def _scale(named: Mapping[str, Step], differs: list[str]
           ) -> tuple[dict[str, Any], tuple[float, float], list[float] | None]:
    """The settings of the model, (mean, deviation), and the window that values are clipped to."""
    step = named.get("ScaleIntensityRange")
    if step is None:
        return {}, (0.0, 1.0), None
    open_ended = step.options.get("b_min") is None and step.options.get("b_max") is None
    ends = _numbers({"b_min": 0, "b_max": 1} | {key: value for key, value in step.options.items() if value is not None})
    if not (ends and ends[0] < ends[1] and ends[2] < ends[3]):
        differs.append("its ScaleIntensityRange gives no a_min below a_max and b_min below b_max, and is left out")
        return {}, (0.0, 1.0), None
    deviation = (ends[1] - ends[0]) / (ends[3] - ends[2])
    mean = ends[0] - ends[2] * deviation
    window = ends[:2] if step.options.get("clip") is True and not open_ended else None
    return {"normalise": [mean, deviation]} | ({"window": window} if window else {}), (mean, deviation), window


def _turned(steps: Sequence[Step], named: Mapping[str, Step], axes: int | None, differs: list[str]
          ) -> tuple[dict[str, Any], bool]:
    """How volumes are turned, and whether the axes of all that follows are those."""
    loads = any(step.name == "LoadImage" for step in steps)
    if "Orientation" not in named:
        if loads and axes == 2:
            differs.append("MONAI's LoadImage gives pictures with columns before rows, and here rows come first: turn "
                           "them, or see whether the network reads them so (steadyread check)")
        return ({"options": {"orientation": "stored"}} if loads and axes == 3 else {}), axes == 3
    options = named["Orientation"].options
    codes = "RAS" if options.get("as_closest_canonical") is True else options.get("axcodes")
    if not (isinstance(codes, str) and len(codes) == 3):
        differs.append("its Orientation gives no three axcodes, such as RAS, and is left out")
        return {}, False
    order = [step.name for step in steps]
    if "Spacing" in order and order.index("Spacing") < order.index("Orientation"):
        differs.append("its Spacing comes before its Orientation, and here behind it: along an axis that is turned "
                       "round its pixels begin at the other end")
        return {"options": {"orientation": codes}}, False
    return {"options": {"orientation": codes}}, True


def _spacing(named: Mapping[str, Step], turned: bool, differs: list[str]) -> dict[str, Any]:
    if "Spacing" not in named:
        return {}
    stated = named["Spacing"].options.get("pixdim")
    each = [float(value) for value in (stated if isinstance(stated, list) else [stated])
            if isinstance(value, int | float) and 0 < value < math.inf]
    if not each or len(each) != (len(stated) if isinstance(stated, list) else 1):
        differs.append(f"its Spacing gives no positive pixdim, and is left out; got {stated}")
    elif len(set(each)) == 1:
        return {"spacing_mm": each[0], "resample": "monai"}
    elif turned:
        return {"spacing_mm": each + each[-1:] * (3 - len(each)), "resample": "monai"}
    else:
        differs.append(f"its Spacing gives each axis a pixdim of its own, {stated}, before its Orientation or without "
                       "one, and is left out: state preparation.spacing_mm")
    return {}


def _crop(steps: Sequence[Step], scale: tuple[float, float], window: list[float] | None, differs: list[str]
          ) -> dict[str, Any]:
    """What is cut out about the centre, and what it is filled up with."""
    used = [step for step in steps if step.name in _CROPS]
    sizes = [_extents(step.options.get(_CROPS[step.name])) for step in used]
    if not used:
        return {}
    cuts = any(step.name != "SpatialPad" for step in used)
    if None in sizes or not cuts or any(size != sizes[0] for size in sizes):
        differs.append(f"its {' and '.join(step.name for step in used)} cut and fill to no one size of positive "
                       "numbers, which is left out")
        return {}
    prepared = {"crop": sizes[0], "size": None, "resample": "monai"}
    filling = next((step for step in used if step.name != "CenterSpatialCrop"), None)
    if filling is None:
        return prepared | {"fill": "never"}
    value = filling.options.get("value", filling.options.get("constant_values", 0))
    if not isinstance(value, int | float):
        differs.append(f"its {filling.name} fills with {value}, and here it is filled with 0")
        value = 0
    order = [step.name for step in steps]
    if "ScaleIntensityRange" in order and order.index("ScaleIntensityRange") < order.index(filling.name):
        value = scale[0] + scale[1] * value
        if window and not window[0] <= value <= window[1]:
            differs.append(f"its {filling.name} fills with what stands for {value:g}, outside the values that it clips "
                           "to, and here with the nearest of these")
    return prepared | {"fill": float(value)}


def _size(named: Mapping[str, Step], differs: list[str]) -> dict[str, Any]:
    if "Resize" not in named:
        return {}
    options = named["Resize"].options
    extents = _extents(options.get("spatial_size"))
    if not isinstance(extents, list) or options.get("size_mode", "all") != "all":
        differs.append("its Resize gives no size of positive numbers, one an axis, and is left out")
        return {}
    return {"size": extents, "fit": "squash", "interpolation": _MODES.get(str(options.get("mode")), "area")}


def _clip(steps: Sequence[Step], window: list[float] | None, differs: list[str]) -> dict[str, Any]:
    """When the window is applied, where that is before images are resampled."""
    order = [step.name for step in steps]
    later = order[order.index("ScaleIntensityRange") + 1:] if window else []
    if not {"Spacing", "Resize"} & set(later):
        return {}
    differs.append("it clips values before it resamples images, and so it is done here; noise of a scan, where it is "
                   "asked for, is added behind both")
    return {"window": window, "clip": "first" if "Spacing" in later or "Spacing" not in order else "resampled"}


def _other_options(step: Step) -> Iterator[str]:
    """What is stated of a step, and not followed."""
    for key, known in _FOLLOWED[step.name].items():
        value = step.options.get(key, known[0])
        if value not in known:
            yield (f"its {step.name} has {key} = {value}, which is not followed: images are prepared as with "
                   f"{key} = {known[0]}")


def _understood(listed: Sequence[Any], config: Mapping[str, Any]) -> tuple[list[Step], list[str]]:
    """The steps that images go through outside training, and sentences on those that are not followed."""
    found: list[Step] = []
    differs: list[str] = []
    image = next((_first(_value(step.get("keys"), config)) for step in listed
                  if _name(step) == "LoadImage" and step.get("keys") is not None), "image")
    for step in listed:
        name = _name(step)
        keys = _value(step.get("keys"), config)
        keys = keys if isinstance(keys, list) else [keys]
        if not name or name.startswith("Rand") or step.get("_disabled_") is True or (
                isinstance(image, str) and image not in keys and None not in keys):
            continue
        if name not in _FOLLOWED and name not in _NEUTRAL:
            differs.append(f"its {name} is not followed")
            continue
        values = {key: _value(value, config) for key, value in step.items()
                  if not key.startswith("_") or key == "_disabled_"}
        place = keys.index(image) if image in keys else 0
        values |= {key: value[min(place, len(value) - 1)] for key in _EACH
                   if isinstance(value := values.get(key), list) and value}
        unclear = [key for key, value in values.items() if _is_code(value) and key != "keys"]
        if unclear and name in _FOLLOWED:
            differs.append(f"its {name} states {', '.join(unclear)} as an expression, which is not evaluated: write "
                           "the value")
        found.append(Step(name, {key: value for key, value in values.items() if key not in unclear}))
    return found, differs


def _lists(config: Any, depth: int = _DEPTH) -> list[list[Mapping[str, Any]]]:
    """All lists of transforms, at whatever depth, those without random ones first."""
    found: list[list[Mapping[str, Any]]] = []
    inner = list(config.values()) if isinstance(config, Mapping) else config if isinstance(config, list) else []
    if isinstance(config, list):
        steps = [each for each in config if isinstance(each, Mapping) and _name(each)]
        found += [steps] if steps else []
    for each in inner if depth else ():
        found += _lists(each, depth - 1)
    return sorted(found, key=lambda steps: any(_name(step).startswith("Rand") for step in steps))


def _name(step: Any) -> str:
    target = step.get("_target_") if isinstance(step, Mapping) else None
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    return name.removesuffix("Dict").removesuffix("D").removesuffix("d")


def _value(stated: Any, config: Mapping[str, Any], depth: int = _DEPTH) -> Any:
    """A value, where it refers to another of the file that one."""
    if isinstance(stated, list):
        return [_value(each, config, depth) for each in stated]
    if not (isinstance(stated, str) and stated[:1] == "@" and depth):
        return stated
    held: Any = config
    for key in stated[1:].replace("::", "#").split("#"):
        place = int(key) if isinstance(held, list) and key.isdigit() else key
        if not (place in held if isinstance(held, Mapping) else isinstance(held, list) and place in range(len(held))):
            return stated
        held = held[place]
    return _value(held, config, depth - 1)


def _is_code(value: Any) -> bool:
    """Whether a value, or one of a list, is an expression, a reference that leads nowhere, or makes an object."""
    each = value if isinstance(value, list) else [value]
    return any(isinstance(one, Mapping) or (isinstance(one, str) and one[:1] in ("$", "@", "%")) for one in each)


def _extents(stated: Any) -> Any:
    """A size of positive whole numbers, one an axis or one for all; None of another."""
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated if stated > 0 else None
    sides = whole(stated) if isinstance(stated, list) else None
    return list(sides) if sides and min(sides) > 0 else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _numbers(options: Mapping[str, Any]) -> list[float]:
    """The ends of a ScaleIntensityRange, [] unless all are finite numbers."""
    values = [float(value) for value in map(options.get, ("a_min", "a_max", "b_min", "b_max"))
              if isinstance(value, int | float) and math.isfinite(value)]
    return values if len(values) == 4 else []
