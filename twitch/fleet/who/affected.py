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
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from twitch.errors import UsageError
from twitch.fleet.puppetdb.client import PuppetDB, Query
from twitch.fleet.puppetdb.rows import chunks
from twitch.fleet.who import names
from twitch.texts import one_line

PRODUCTION = "production"  # Puppet's own default
EXAMPLES = 5  # paths in a note
CONDITIONS = 100  # paths in one query

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

# Puppet Enterprise compiles from copies of the environment, which have an id after their name.
COPY = "(_[^/]+)?"


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
    conditions = [manifest(path, environment) for path in code.manifests]
    conditions += [module(path, environment) for path in code.modules]
    found: set[str] = set()
    for some in chunks(conditions, CONDITIONS):
        rows = await database.query(having(some, environment))
        found.update(str(row["certname"]) for row in rows)
    return Affected(sorted(found), said, notes)


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


def manifest(path: str, environment: str) -> list[Any]:
    """Return the condition for resources of a manifest."""
    here = ["~", "file", f"{_directory(environment)}{_quoted(path)}$"]
    name = class_of(path)
    return here if name is None else ["or", here, ["=", "type", name], _class(["=", "title", name])]


def module(path: str, environment: str) -> list[Any]:
    """Return the condition for resources of a module."""
    name = f"^{path.rpartition('/')[2].capitalize()}(::|$)"
    here = ["~", "file", f"{_directory(environment)}{_quoted(path)}/manifests/"]
    return ["or", here, ["~", "type", name], _class(["~", "title", name])]


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


def having(conditions: Sequence[list[Any]], environment: str) -> Query:
    """Return the query for the nodes with a resource that meets one of the conditions."""
    wanted = ["and", ["=", "environment", environment], ["or", *conditions]]
    return ["from", "resources", ["extract", ["certname"], wanted, ["group_by", "certname"]]]


def _class(title: list[Any]) -> list[Any]:
    return ["and", ["=", "type", "Class"], title]


def _directory(environment: str) -> str:
    return f"/{_quoted(environment)}{COPY}/"


def _quoted(path: str) -> str:
    """Return a path as a regular expression of PostgreSQL."""
    return re.sub(r"([^A-Za-z0-9_/-])", r"\\\1", path)


def _first(paths: Sequence[str]) -> str:
    more = f", and {len(paths) - EXAMPLES} more" if len(paths) > EXAMPLES else ""
    return ", ".join(one_line(path) for path in paths[:EXAMPLES]) + more
