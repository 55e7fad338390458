"""The nodes that a change of the Puppet code affects."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from tests.unit.fleet import servers
from twitch.errors import UsageError
from twitch.fleet.who import affected
from twitch.fleet.who.affected import Code, below_environment, by_effect, class_of

CODE = "/etc/puppetlabs/code/environments/production"


def resource(
    node: str,
    kind: str,
    title: str,
    file: Optional[str],
    *,
    code: str = CODE,
    environment: str = "production",
) -> dict[str, Any]:
    return {
        "certname": node,
        "type": kind,
        "title": title,
        "file": file and f"{code}/{file}",
        "environment": environment,
    }


# As PuppetDB 7.12.1 and 8.4.1 have them: a class has no file, and a defined type that of its declaration.
CATALOGS = [
    resource("web1", "Class", "Role::Web", None),
    resource("web1", "Class", "Nginx", None),
    resource("web1", "File", "/etc/nginx/nginx.conf", "modules/nginx/manifests/init.pp"),
    resource("web1", "Svc::Unit", "app", "site/profile/manifests/app.pp"),
    resource("web1", "File", "/etc/app", "modules/svc/manifests/unit.pp"),
    resource("db1", "File", "/etc/motd", "manifests/site.pp"),
    resource("db1", "Class", "Nginxplus", None),
    resource("copy1", "File", "/etc/motd", "manifests/site.pp", code=f"{CODE}_0a1b2c"),
    resource("test1", "Class", "Nginx", None, environment="test"),
    resource("module1", "File", "/x", "modules/foo/manifests/site.pp"),
]


async def nodes(*paths: str, **options: Any) -> affected.Affected:
    async with servers.simulated("web1", "db1", resources=CATALOGS) as database:
        return await affected.nodes(database, paths, None, **options)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("modules/nginx/manifests/init.pp", ["web1"]),
        (f"{CODE}/modules/nginx/manifests/init.pp", ["web1"]),
        ("./modules/nginx/manifests/init.pp", ["web1"]),
        # A class that only includes others.
        ("site/role/manifests/web.pp", ["web1"]),
        # A defined type without resources of its own in the file.
        ("modules/svc/manifests/unit.pp", ["web1"]),
        # The main manifest, and not the one of a module with the same name; also from a copy of the code.
        ("manifests/site.pp", ["copy1", "db1"]),
        ("modules/nginx/templates/nginx.conf.erb", ["web1"]),
        ("modules/nginx/files/a/lib/b.txt", ["web1"]),
        ("modules/nginx/data/common.yaml", ["web1"]),
        ("modules/nginx/hiera.yaml", ["web1"]),
        ("modules/unused/manifests/init.pp", []),
        ("modules/nginx/manifests/initXpp", []),
        ("nginx/manifests/init.pp", ["web1"]),  # by the name of the class
        ("manifests/si.e.pp", []),
        ("README.md", []),
        ("modules/nginx/spec/classes/nginx_spec.rb", []),
    ],
)
async def test_a_path_affects_nodes(path: str, names: list[str]) -> None:
    found = await nodes(path)
    assert found.names == names


async def test_paths_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.BytesIO(b"manifests/site.pp\n\nmodules/nginx/manifests/init.pp\nmanifests/site.pp\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines))
    found = await nodes("-")
    assert found.names == ["copy1", "db1", "web1"]
    assert found.said == "affected by 3 paths in the environment production"


async def test_what_cannot_be_mapped_is_listed() -> None:
    found = await nodes("data/nodes/web1.yaml", "manifests/site.pp")
    assert found.names == ["copy1", "db1"]
    assert found.notes == [
        "A catalog does not show where these are used, so they mean no node, or with --or-all every node: "
        "data/nodes/web1.yaml"
    ]


async def test_what_cannot_be_mapped_can_mean_every_node_of_the_environment() -> None:
    def rows(query: Any) -> list[dict[str, Any]]:
        assert query[1] == "nodes"
        assert query[2][2] == [
            "or",
            ["=", "catalog_environment", "staging"],
            ["and", ["null?", "catalog_environment", True], ["=", "report_environment", "staging"]],
        ]
        return [{"certname": "web2"}, {"certname": "web1"}]

    async with servers.puppetdb(rows) as (database, _):
        found = await affected.nodes(database, ["data/x.yaml"], "staging", or_all=True)
    assert found.names == ["web1", "web2"]
    assert found.notes[0].endswith("so they mean every node of the environment: data/x.yaml")


async def test_or_all_changes_nothing_if_every_path_can_be_mapped() -> None:
    assert (await nodes("manifests/site.pp", or_all=True)).names == ["copy1", "db1"]


async def test_any_number_of_paths_is_as_many_queries() -> None:
    def rows(query: Any) -> list[dict[str, Any]]:
        column = query[2][1][0]
        values = [f"{CODE}/manifests/{n}.pp" for n in range(700)] if column == "file" else ["web1"]
        return [{column: value} for value in values]

    paths = [f"manifests/{n}.pp" for n in range(600)]
    for version, number in (("8.4.1", 4), ("7.12.1", 5)):
        async with servers.puppetdb(rows, version) as (database, bodies):
            assert (await affected.nodes(database, paths, None)).names == ["web1"]
        assert len(bodies) == number


def test_paths_by_their_effect() -> None:
    code = by_effect(
        [
            *("manifests/site.pp", "manifests/nodes/a.pp", "site/role/manifests/web.pp"),
            *("modules/nginx/files/a", "modules/nginx/templates/b", "modules/nginx/files/a"),
            *("Puppetfile", "environment.conf", "hiera.yaml", "data/role/files/x.yaml", "hieradata/a.yaml"),
            *("modules/nginx/lib/facter/x.rb", "modules/nginx/functions/f.pp", "modules/nginx/types/t.pp"),
            *("modules/nginx/facts.d/x.sh", "bin/deploy.pp"),
            *(
                "README.md",
                ".gitignore",
                ".gitlab-ci.yml",
                "modules/a/CHANGELOG.md",
                "modules/a/metadata.json",
            ),
            *("modules/a/plans/p.pp", "modules/a/examples/init.pp", "modules/a/.sync.yml"),
        ]
    )
    assert code == Code(
        manifests=["manifests/site.pp", "manifests/nodes/a.pp", "site/role/manifests/web.pp"],
        modules=["modules/nginx"],
        elsewhere=[
            *("Puppetfile", "environment.conf", "hiera.yaml", "data/role/files/x.yaml", "hieradata/a.yaml"),
            *("modules/nginx/lib/facter/x.rb", "modules/nginx/functions/f.pp", "modules/nginx/types/t.pp"),
            *("modules/nginx/facts.d/x.sh", "bin/deploy.pp"),
        ],
        without_effect=[
            *(
                "README.md",
                ".gitignore",
                ".gitlab-ci.yml",
                "modules/a/CHANGELOG.md",
                "modules/a/metadata.json",
            ),
            *("modules/a/plans/p.pp", "modules/a/examples/init.pp", "modules/a/.sync.yml"),
        ],
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("modules/nginx/manifests/init.pp", "Nginx"),
        ("site-modules/role/manifests/web/server.pp", "Role::Web::Server"),
        ("nginx/manifests/vhost.pp", "Nginx::Vhost"),
        ("manifests/site.pp", None),
        ("modules/nginx/manifests/Odd.pp", None),
    ],
)
def test_the_class_of_a_manifest(path: str, name: Optional[str]) -> None:
    assert class_of(path) == name


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.pp", "modules/../../x", "./", "/"])
def test_a_path_that_is_not_below_the_environment_is_an_error(path: str) -> None:
    with pytest.raises(UsageError, match="is one below the directory of the environment"):
        below_environment(path, "production")
