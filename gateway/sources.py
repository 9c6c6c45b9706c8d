"""From YAML file, environment and flags to one table of values, each with the place it came from.

dynaconf reads the YAML (`gateway.yaml_file`) and lays the sources over each other, later ones winning: file,
environment, flags. What is laid into it is already read by its kind, so there is nothing left to cast or to evaluate:
a token that begins with `@` or a key of digits arrives as it was written.

Names are looked up in a `Catalogue`; an unknown one is an error that names the nearest. Within one source a value may
be given once, except that the three prefixes may repeat each other. A variable that is set but empty counts as not
set. Variables that Kubernetes adds for a service called `ai-gateway` are not ours and are passed over.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dynaconf.loaders.base import SourceMetadata  # type: ignore[import-untyped]

from gateway.kinds import Kind, Misfit
from gateway.settings_error import SettingsError
from gateway.yaml_file import load_yaml, quiet_dynaconf

PREFIXES: Final = ("CODER_AI_GATEWAY_", "AI_GATEWAY_", "CODER_AIBRIDGE_")
"""The canonical prefix of variables, the short one, and the old one."""

SECTION: Final = "ai_gateway"
"""The YAML section and, with dashes, the beginning of the flags that belong to the gateway's own options."""

_FILE: Final = "_file"
_INDEXED: Final = re.compile(r"PROVIDER_(0|[1-9][0-9]{0,3})_(.+)", re.ASCII)
_SERVICE_LINK: Final = re.compile(
    r"(SERVICE_(HOST|PORT(_.+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave. `origin` is for `config show`, `place` begins a sentence of an error."""

    value: Any
    origin: str
    place: str
    spelled: str


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name that may be given: the value it sets, and how that is written."""

    target: str
    kind: Kind
    from_file: bool = False


@dataclass(frozen=True)
class Catalogue:
    """Every name that sources may use, with underscores and in lower case."""

    process: Mapping[str, Spelling]
    """Options of the process: top level in YAML, flags without `ai-gateway-`."""
    section: Mapping[str, Spelling]
    """Options below `ai_gateway`."""
    instance: Mapping[str, Spelling]
    """Options of one provider instance."""
    yaml_aliases: Mapping[str, Spelling] = field(default_factory=dict)
    """Names that only YAML knows, below `ai_gateway`."""


def spellings(options: Iterable[tuple[str, str, Kind]]) -> dict[str, Spelling]:
    """The names of (name, target, kind); a secret may also be given as the path of a file that holds it."""
    found: dict[str, Spelling] = {}
    for name, target, kind in options:
        found[name] = Spelling(target, kind)
        if kind.secret:
            found[name + _FILE] = Spelling(target, kind, from_file=True)
    return found


def read_sources(
    catalogue: Catalogue, *, config: Path | None, environ: Mapping[str, str], flags: Mapping[str, str]
) -> dict[str, Given]:
    """Every value that was given, by its target; where several sources give one, the strongest."""
    store = quiet_dynaconf()
    layers = (
        ("yaml", _yaml_layer(catalogue, config) if config else ()),
        ("environment", _environment_layer(catalogue, environ)),
        ("flags", _flag_layer(catalogue, flags)),
    )
    targets: set[str] = set()
    for loader, layer in layers:
        values = _once(layer)
        for target, given in values.items():
            store.set(target, given, loader_identifier=SourceMetadata(loader, given.origin))
        targets |= values.keys()
    return {target: store.get(target) for target in sorted(targets)}


def _once(layer: Iterable[tuple[str, Given]]) -> dict[str, Given]:
    """The values of one source by target; only the same name with another prefix may repeat a value."""
    values: dict[str, Given] = {}
    for target, given in layer:
        before = values.setdefault(target, given)
        if before is not given and (before.spelled != given.spelled or before.value != given.value):
            raise SettingsError(f"{before.place} and {given.place} set the same option; remove one of them")
    return values


def _read(spelling: Spelling, raw: object, *, origin: str, place: str, spelled: str) -> tuple[str, Given]:
    if spelling.from_file:
        path = str(raw).strip()
        raw, origin, place = _content(path, place), f"{origin} ({path})", f"the file that {place} names"
    try:
        value = spelling.kind.read(raw)
    except Misfit as misfit:
        raise SettingsError(f"{place} {misfit}") from None
    return spelling.target, Given(value, origin, place, spelled)


def _content(path: str, place: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"{place} names a file that can't be read ({error.strerror}); correct the path"
        ) from None
    except ValueError:
        raise SettingsError(f"{place} names a file that does not hold UTF-8 text; correct the path") from None


# -- environment --------------------------------------------------------------------------------------------------


def _environment_layer(catalogue: Catalogue, environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    for variable in sorted(environ):
        prefix = next((prefix for prefix in PREFIXES if variable.startswith(prefix)), None)
        if prefix is None or not environ[variable].strip():
            continue
        spelled = variable.removeprefix(prefix)
        if _is_service_link(spelled, environ[variable]):
            continue
        spelling = _variable(catalogue, prefix, spelled)
        yield _read(spelling, environ[variable], origin=variable, place=variable, spelled=spelled)


def _is_service_link(spelled: str, value: str) -> bool:
    is_port = spelled == "PORT" and value.startswith(("tcp://", "udp://", "sctp://"))
    return is_port or _SERVICE_LINK.fullmatch(spelled) is not None


def _variable(catalogue: Catalogue, prefix: str, spelled: str) -> Spelling:
    if match := _INDEXED.fullmatch(spelled):
        start, name, names, index = f"{prefix}PROVIDER_{match[1]}_", match[2], catalogue.instance, match[1]
    else:
        start, name, names, index = prefix, spelled, {**catalogue.process, **catalogue.section}, None
    if name.lower() not in names or name != name.upper():
        examples = (f"{prefix}PROVIDER_0_{known.upper()}" for known in catalogue.instance)
        raise _unknown(start + name, [*(start + known.upper() for known in names), *examples])
    return _at(names[name.lower()], index)


def _at(spelling: Spelling, index: str | int | None) -> Spelling:
    if index is None:
        return spelling
    return Spelling(instance_target(index, spelling.target), spelling.kind, spelling.from_file)


def instance_target(index: int | str, name: str) -> str:
    """Where the value `name` of the provider instance `index` is kept."""
    return f"providers.{index}.{name}"


def parse_instance_target(target: str) -> tuple[int, str] | None:
    """The index and the name of a value of a provider instance, or None for any other value."""
    section, _, rest = target.partition(".")
    index, _, name = rest.partition(".")
    return (int(index), name) if section == "providers" else None


def _unknown(name: str, known: Iterable[str], where: str = "") -> SettingsError:
    by_folded = {one.lower(): one for one in known}
    nearest = by_folded[difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.0)[0]]
    return SettingsError(f"{name}{where} is not a setting; the nearest is {nearest}, so rename or remove it")


# -- flags --------------------------------------------------------------------------------------------------------


def flag_of(name: str, *, section: bool) -> str:
    """The flag of an option: `--port`, `--ai-gateway-retention`."""
    return "--" + (f"{SECTION}_{name}" if section else name).replace("_", "-")


def flag_spellings(catalogue: Catalogue) -> dict[str, Spelling]:
    """Every flag, and the value it sets."""
    process = {flag_of(name, section=False): spelling for name, spelling in catalogue.process.items()}
    return process | {flag_of(name, section=True): spelling for name, spelling in catalogue.section.items()}


def _flag_layer(catalogue: Catalogue, flags: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    names = flag_spellings(catalogue)
    for flag, text in flags.items():
        if flag not in names:
            raise _unknown(flag, names)
        yield _read(names[flag], text, origin=flag, place=flag, spelled=flag)


# -- YAML ---------------------------------------------------------------------------------------------------------


def _yaml_layer(catalogue: Catalogue, config: Path) -> Iterator[tuple[str, Given]]:
    document = load_yaml(config)
    section = document.pop(SECTION, None)
    yield from _mapping(config, "", document, catalogue.process, extra=[SECTION])
    if section is None:
        return
    if not isinstance(section, dict):
        raise SettingsError(f"{SECTION} in {config} must be a mapping of options")
    instances = section.pop("providers", None)
    names = {**catalogue.section, **catalogue.yaml_aliases}
    yield from _mapping(config, f"{SECTION}.", section, names, extra=["providers"])
    yield from _instances(catalogue, config, instances)


def _instances(catalogue: Catalogue, config: Path, instances: object) -> Iterator[tuple[str, Given]]:
    if instances is None:
        return
    if not isinstance(instances, list) or not all(isinstance(instance, dict) for instance in instances):
        raise SettingsError(f"{SECTION}.providers in {config} must be a list of mappings")
    for index, instance in enumerate(instances):
        yield from _mapping(
            config, f"{SECTION}.providers[{index}].", instance, catalogue.instance, index=index
        )


def _mapping(
    config: Path,
    path: str,
    values: Mapping[Any, object],
    names: Mapping[str, Spelling],
    *,
    extra: Iterable[str] = (),
    index: int | None = None,
) -> Iterator[tuple[str, Given]]:
    """The values of one YAML mapping. Dashes in a name are underscores; a value left empty is not given."""
    for key, raw in values.items():
        name = str(key).replace("-", "_")
        if name not in names:
            raise _unknown(f"{path}{key}", [path + known for known in (*names, *extra)], f" in {config}")
        if raw is not None:
            spelled = f"{path}{key}"
            place = f"{spelled} in {config}"
            yield _read(_at(names[name], index), raw, origin=str(config), place=place, spelled=spelled)
