"""A whole experiment as a file: data, preparation, split, model, training, attacks and gates, checked key by key.

A study is read from TOML, every flag of the command line overrides one of its keys, and what neither states
comes from the table of `DEFAULTS` for the layout that the data turn out to have.
"""

from steadyread.study.defaults import DEFAULTS, completed
from steadyread.study.reading import keyed, laid_over, override, read_study
from steadyread.study.sections import Model, Noise, Settings, Study, Variant

__all__ = ["DEFAULTS", "Model", "Noise", "Settings", "Study", "Variant", "completed", "keyed", "laid_over",
           "override", "read_study"]
