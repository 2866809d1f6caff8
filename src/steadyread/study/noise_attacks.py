"""What can be tried with CT noise, and the settings that each takes in a study file."""

from collections.abc import Mapping

from steadyread.errors import UsageError
from steadyread.registry import nearest
from steadyread.study.section import LEAST_MAS, MOST, MOST_MAS, Settings, is_dose, refuse_unknown

_STARTS = ("mas", "starts")
NOISE_ATTACKS: Mapping[str, tuple[str, ...]] = {
    "random": ("mas", "draws"), "inflated": ("mas", "draws"), "paper": (*_STARTS, "iterations"),
    "paper_hu": (*_STARTS, "iterations"), "pooled": (*_STARTS, "iterations"), "rings": (*_STARTS, "steps"),
    "plausible": (*_STARTS, "steps")}


def refuse_unknown_attacks(stated: Mapping[str, Settings], where: str) -> None:
    """Attacks by name with their settings: each must be known, and its settings doses or counts."""
    for name, settings in stated.items():
        if name not in NOISE_ATTACKS:
            raise UsageError(f"{where}: no attack '{name}'{nearest(name, NOISE_ATTACKS)}")
        refuse_unknown(settings, NOISE_ATTACKS[name], f"{where}.{name}.")
        for key, value in settings.items():
            _refuse_setting(f"{where}.{name}.{key}", key, value)


def _refuse_setting(where: str, key: str, value: object) -> None:
    """Doses must be positive numbers, everything else a count."""
    if key == "mas":
        if not isinstance(value, list | tuple) or not value or not all(map(is_dose, value)) or (
                len(set(value)) < len(value)):
            raise UsageError(f"{where} must be doses in mAs, such as [10, 100]; got {repr(value)[:100]} "
                             f"(each once, of {LEAST_MAS:g} to {MOST_MAS:g} mAs)")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where} must be a whole number of at least 1; got {repr(value)[:100]}")
    elif value > MOST:
        raise UsageError(f"{where} must be at most {MOST}; got {repr(value)[:100]}")
