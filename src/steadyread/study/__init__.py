"""A whole experiment as a file: data, preparation, split, model, training, attacks and gates, checked key by key.

A study is read from TOML, every flag of the command line overrides one of its keys, and what neither states
comes from the reader of the layout that the data turn out to have.
"""

from steadyread.study.defaults import completed, with_epsilons
from steadyread.study.hardening import Hardening
from steadyread.study.model import Model
from steadyread.study.noise import Noise, Variant
from steadyread.study.noise_hardening import NoiseHardening
from steadyread.study.reading import keyed, override, read_studies, read_study
from steadyread.study.section import Settings, laid_over
from steadyread.study.sections import Study

__all__ = ["Hardening", "Model", "Noise", "NoiseHardening", "Settings", "Study", "Variant",
           "completed", "keyed", "laid_over", "override", "read_studies", "read_study", "with_epsilons"]
