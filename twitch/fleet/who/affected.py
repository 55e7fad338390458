"""The nodes that a change of the Puppet code affects, by what their last catalogs have from this code.

So after a deployment, `git diff --name-only OLD NEW | puppet-twitch-fleet run --affected-by -` runs Puppet
where it matters. Paths are those below the directory of the environment.

- A manifest affects the nodes with a resource declared in it, and with its class or defined type. The latter
  because a class has no file in PuppetDB (seen in 8.4.1), and many classes only include others.
- A template, file or data file of a module affects the nodes with anything of this module.
- Data of the environment, facts, functions, types of data and plugins leave no trace in a catalog. These
  paths are listed, and with --or-all they affect every node of the environment.

A last catalog has nothing of a class that the change includes for the first time. Such a node is found by
the manifest that includes the class, which has changed too; not if the change is in the data alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Optional

from twitch.errors import UsageError
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetdb.rows import chunks, one_of
from twitch.fleet.who import names
from twitch.texts import one_line

PRODUCTION = "production"  # Puppet's own default
EXAMPLES = 5  # paths in a note

# A path in a module. What stands before its name is where the environment keeps modules (modulepath).
IN_MODULE = re.compile(
    r"(?P<module>(?:.+?/)?(?P<name>[a-z][a-z0-9_]*))/"
    r"(?P<kind>manifests|templates|files|data|hiera\.yaml|lib|facts\.d|functions|types|plans|tasks|locales|"
    r"spec|examples|metadata\.json)(?:/(?P<rest>.*))?"
)
# Data in a module can only set parameters of this module, because its keys begin with the module's name.
BY_MODULE = {"templates", "files", "data", "hiera.yaml"}
WITHOUT_EFFECT = re.compile(r"(?:.*/)?(?:[^/]+\.md|LICENSE|Gemfile|Rakefile|\.[^/]+|spec/.*|examples/.*)")
WITHOUT_EFFECT_KINDS = {"spec", "examples", "plans", "tasks", "locales", "metadata.json"}
DATA = re.compile(r"(?:data|hieradata|hiera)/.*")

CLASS_PART = re.compile(r"[a-z][a-z0-9_]*")


class Affected(NamedTuple):
    """The nodes that paths affect."""

    names: list[str]
    said: str
    notes: list[str]


class Code(NamedTuple):
    """Paths by what is known of their effect."""

    manifests: list[str]
    modules: list[str]  # the directory of a module, such as modules/nginx
    elsewhere: list[str]  # paths that cannot be mapped
    without_effect: list[str]  # documentation and tests


async def nodes(
    database: PuppetDB, options: Sequence[str], environment: Optional[str], *, or_all: bool = False
) -> Affected:
    """Return the nodes that the paths of --affected-by affect. Raise UsageError for a path that is not one.

    An option `-` is standard input, with a path in each line.
    """
    paths = [path for option in options for path in (names.lines_of("-") if option == "-" else [option])]
    environment = environment or PRODUCTION
    code = by_effect([below_environment(path, environment) for path in paths])
    what = one_line(paths[0]) if len(paths) == 1 else f"{len(paths)} paths"
    said, notes = f"affected by {what} in the environment {environment}", []
    if code.elsewhere:
        meaning = "every node of the environment" if or_all else "no node, or with --or-all every node"
        notes.append(
            f"A catalog does not show where these are used, so they mean {meaning}: {_first(code.elsewhere)}"
        )
    if code.elsewhere and or_all:
        return Affected(await inventory_of(database, environment), said, notes)
    if not code.manifests and not code.modules:
        return Affected([], said, notes)
    wanted = await _in_catalogs(database, code, environment)
    return Affected(await _having(database, wanted, environment), said, notes)


async def inventory_of(database: PuppetDB, environment: str) -> list[str]:
    """Return the nodes whose last catalog is of an environment, or their last report if they have none."""
    without_catalog = [
        "and",
        ["null?", "catalog_environment", True],
        ["=", "report_environment", environment],
    ]
    wanted = ["or", ["=", "catalog_environment", environment], without_catalog]
    query = ["from", "nodes", ["extract", ["certname"], wanted]]
    return sorted(str(row["certname"]) for row in await database.query(query))


def below_environment(path: str, environment: str) -> str:
    """Return a path as it is below the directory of the environment."""
    clean = path.strip().replace("\\", "/")
    clean = re.sub(rf"^(?:.*/)?environments/{re.escape(environment)}/", "", clean)
    clean = re.sub(r"^(?:\./)+", "", clean).rstrip("/")
    if not clean or clean.startswith("/") or ".." in clean.split("/"):
        raise UsageError(
            f"--affected-by {one_line(path)}: a path is one below the directory of the environment, such as "
            "site-modules/nginx/manifests/init.pp"
        )
    return clean


def by_effect(paths: Sequence[str]) -> Code:
    """Return the paths, each once, by what is known of their effect."""
    code = Code([], [], [], [])
    for path in dict.fromkeys(paths):
        found = None if DATA.fullmatch(path) else IN_MODULE.fullmatch(path)
        kind = found["kind"] if found else None
        if WITHOUT_EFFECT.fullmatch(path) or kind in WITHOUT_EFFECT_KINDS:
            code.without_effect.append(path)
        elif path.endswith(".pp") and (kind == "manifests" or path.startswith("manifests/")):
            code.manifests.append(path)
        elif found and kind in BY_MODULE:
            code.modules.append(found["module"])
        else:
            code.elsewhere.append(path)
    return code._replace(modules=list(dict.fromkeys(code.modules)))


def class_of(path: str) -> Optional[str]:
    """Return the name of the class or defined type of a manifest, as PuppetDB writes it: Role::Web."""
    found = IN_MODULE.fullmatch(path)
    if not found or found["kind"] != "manifests" or not found["rest"]:
        return None
    parts = [found["name"], *found["rest"][: -len(".pp")].split("/")]
    if parts[1:] == ["init"]:
        parts = parts[:1]
    if not all(CLASS_PART.fullmatch(part) for part in parts):
        return None
    return "::".join(part.capitalize() for part in parts)


class Traces(NamedTuple):
    """What resources of catalogs have from the code in question, in PuppetDB's words."""

    files: list[str]
    types: list[str]
    classes: list[str]


async def _in_catalogs(database: PuppetDB, code: Code, environment: str) -> Traces:
    """Return what there is of this code in the catalogs of the environment.

    PuppetDB lists all files, types and classes, and the paths are looked for here. A regular expression in
    the query would be tried on every resource: 20 paths took 135 s with 300,000 resources, and this way any
    number of paths takes 2 s (PuppetDB 7.12.1 on a busy machine).
    """
    here = ["=", "environment", environment]
    files = await _column(database, "file", here)
    types = await _column(database, "type", here)
    classes = await _column(database, "title", ["and", here, ["=", "type", "Class"]])
    names = {name for path in code.manifests for name in [class_of(path)] if name}
    modules = {path.rpartition("/")[2].capitalize() for path in code.modules}
    manifests, folders = frozenset(code.manifests), tuple(f"{path}/manifests/" for path in code.modules)

    def is_wanted(name: str) -> bool:
        return name in names or name.partition("::")[0] in modules

    return Traces(
        [file for file in files if _is_of(file, manifests, folders, environment)],
        list(filter(is_wanted, types)),
        list(filter(is_wanted, classes)),
    )


def _is_of(file: str, manifests: Collection[str], folders: tuple[str, ...], environment: str) -> bool:
    """Return whether a file of a resource is one of the manifests, or in one of the folders."""
    # Puppet Enterprise compiles from copies of the environment, which have an id after their name.
    for found in re.finditer(rf"(?<=/){re.escape(environment)}(?:_[^/]+)?/", file):
        path = file[found.end() :]
        if path in manifests or path.startswith(folders):
            return True
    return False


async def _column(database: PuppetDB, column: str, condition: list[Any]) -> list[str]:
    """Return the values that resources have in a column."""
    query = ["from", "resources", ["extract", [column], condition, ["group_by", column]]]
    return [row[column] for row in await database.query(query) if isinstance(row.get(column), str)]


async def _having(database: PuppetDB, traces: Traces, environment: str) -> list[str]:
    """Return the nodes with a resource that has one of the traces."""
    size = await database.array_limit()
    conditions = [one_of("file", some) for some in chunks(traces.files, size)]
    conditions += [one_of("type", some) for some in chunks(traces.types, size)]
    conditions += [
        ["and", ["=", "type", "Class"], one_of("title", some)] for some in chunks(traces.classes, size)
    ]
    found: set[str] = set()
    for condition in conditions:
        wanted = ["and", ["=", "environment", environment], condition]
        query = ["from", "resources", ["extract", ["certname"], wanted, ["group_by", "certname"]]]
        found.update(str(row["certname"]) for row in await database.query(query))
    return sorted(found)


def _first(paths: Sequence[str]) -> str:
    more = f", and {len(paths) - EXAMPLES} more" if len(paths) > EXAMPLES else ""
    return ", ".join(one_line(path) for path in paths[:EXAMPLES]) + more
