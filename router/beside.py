"""The policy in force, from a file or a store, and the policies that are tried beside it.

* yamlfile.Invalid   one of them is wrong, isn't there, or doesn't go with the others; or nobody
                     knows which is in force
(and OSError)
"""

from dataclasses import dataclass
from pathlib import Path

from backends import files
from backends.parse import Source
from policies.canary import as_canary, objection
from policies.model import Policy
from policies.names import Names
from policies.parse import parse
from router.policy_store import Listed, PolicyStore, PolicyStoreFailed, Version, is_store, typed
from router.stops import IN_STATE, IN_STORE, Stops
from router.world import Trial
from yamlfile import Invalid, Problem


@dataclass(frozen=True, slots=True)
class Policies:
    """`trial`: the canary that the policy in force names. `candidate` decides beside it, and
    nothing is sent for that. `left_out`: what is said of versions that can't be read. `version`:
    the policy's number in its store.
    """

    policy: Policy
    trial: Trial | None = None
    candidate: Policy | None = None
    left_out: tuple[str, ...] = ()
    version: int | None = None


def of_file(path: Path, names: Names, state: Path) -> Policies:
    """A canary is the file of its name beside the policy's."""
    stable = read(files.on_disk(path), names)
    if stable.canary is None:
        return Policies(stable)
    beside = path.with_name(f"{stable.canary.policy}.yaml")
    if not beside.exists():
        said = f"canary: there is no `{beside.name}` beside it, which would hold that policy"
        raise Invalid([Problem(str(path), said)])
    canary = read(files.on_disk(beside), names)
    if canary.name != stable.canary.policy:
        said = f"its `name` is `{canary.name}`: of `{path.name}` it is the canary by its own name"
        raise Invalid([Problem(str(beside), said)])
    return Policies(stable, _trial(canary, str(beside), stable, stops_of(path, state)))


def of_store(folder: Path, names: Names, state: Path) -> Policies:
    """Of a store the newest version is in force; canaries and candidates are versions too."""
    store, listed, version = in_force(folder)
    stable = read(words(store, version), names)
    trial = trial_of(store, listed, stable, names, (version.number, state))
    beside = listed.shadow()
    candidate = None if beside is None else read(words(store, beside), names)
    return Policies(stable, trial, candidate, listed.unreadable, version.number)


def in_force(folder: Path) -> tuple[PolicyStore, Listed, Version]:
    """Return a store, what is listed there, and the version that holds."""
    try:
        store = PolicyStore(folder)
    except PolicyStoreFailed as exc:
        raise Invalid([Problem(str(folder), str(exc).removeprefix(f"{folder}: "))]) from None
    listed = store.listed()
    doubt = listed.doubt()
    if doubt is not None:  # one that was taken back might be in force again
        raise Invalid([*(Problem(str(folder), why) for why in listed.unreadable),
                       Problem(str(folder), doubt)])  # fmt: skip
    version = listed.in_force()
    if version is None:
        how = typed("publish", folder)
        said = f"nothing is in force here yet: {how} puts a policy in force"
        raise Invalid([*(Problem(str(folder), why) for why in listed.unreadable),
                       Problem(str(folder), said)])  # fmt: skip
    return store, listed, version


def trial_of(
    store: PolicyStore, listed: Listed, stable: Policy, names: Names, at: tuple[int, Path]
) -> Trial | None:
    """Return the canary that this policy names; `at`: its version, and the state folder."""
    if stable.canary is None:
        return None
    number, state = at
    version = listed.canary(stable.canary.policy)
    if version is None:
        said = f"canary: no version is a candidate named `{stable.canary.policy}`"
        how = f"publish it first, by {typed('publish --candidate', store.folder)}"
        raise Invalid([Problem(f"{store.folder} version {number}", f"{said}: {how}")])
    canary, stops = read(words(store, version), names), stops_of(store.folder, state)
    trial = _trial(canary, store.called(version), stable, stops, (number, version.number))
    gone = listed.withdrawal(version.number)
    if gone is None or trial.stopped is not None:
        return trial
    return Trial(trial.policy, trial.key, version.number, f"taken back: {gone}")


def text_of(path: Path) -> tuple[Source, str]:
    """Return a policy's text, of a store's folder what is in force there, and its file's name."""
    if not path.is_dir():
        return files.on_disk(path), path.name
    store, _, version = in_force(path)
    return words(store, version), version.words.file


def words(store: PolicyStore, version: Version) -> Source:
    return Source(store.called(version), version.words.text)


def read(source: Source, names: Names) -> Policy:
    return parse(source.text, source.name, names)


def stops_of(policy: Path, state: Path) -> Stops:
    """Return where canaries of this policy are kept that were stopped."""
    of_state = state / IN_STATE
    return Stops((policy / IN_STORE, of_state) if is_store(policy) else (of_state,))


def key_of(numbers: tuple[int, int] | None, stable_hash: str, canary_hash: str) -> str:
    """Return what names a canary. A version that is published anew makes another one of it: so one
    that was stopped begins again.
    """
    return "-".join([*map(str, numbers or ()), stable_hash, canary_hash])


def _trial(
    canary: Policy, name: str, stable: Policy, stops: Stops, numbers: tuple[int, int] | None = None
) -> Trial:
    objected = objection(canary, stable)
    if objected is not None:
        raise Invalid([Problem(name, objected)])
    key = key_of(numbers, stable.hash, canary.hash)
    stop = stops.find(key)
    number = None if numbers is None else numbers[1]
    return Trial(as_canary(canary, stable), key, number, None if stop is None else stop.why)
