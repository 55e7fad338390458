"""`puppet-twitch metrics`: the metrics of this node, printed or written for node_exporter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from twitch import metrics, textfile
from twitch.arguments import Parser
from twitch.cli import terminal
from twitch.cli.asking import ask
from twitch.cli.person import person
from twitch.errors import ConfigError, RootUnavailable, TwitchError
from twitch.messages import Metrics

DESCRIPTION = """\
Print the metrics of this node as /metrics does, or write them to a file that the textfile collector of
node_exporter reads: on Debian /var/lib/prometheus/node-exporter/puppet-twitch.prom. The file has no state
(puppet_agent_state), because it is read later than it is written.
"""
EXIT_STATUS = """\
Exit status: 0, or 1 if Puppet or the file cannot be read or written; 64: invalid options; 69: root's side
cannot be reached; 77: not root; 78: invalid configuration. If Puppet cannot be read, the file says so with
puppet_agent_collect_success 0."""


def main(arguments: Sequence[str]) -> int:
    """Print or write the metrics and return 0; raises `TwitchError` if Puppet cannot be read."""
    parser = Parser("metrics", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("--output", metavar="FILE", help="replace this file; node_exporter reads *.prom only")
    options = parser.parse_args(arguments)
    terminal.prepare()
    person("metrics")  # root only
    text, error = _metrics()
    if options.output:
        textfile.write(options.output, metrics.for_textfile(text))
    else:
        print(text, end="")
    if error:
        raise error
    return 0


def _metrics() -> tuple[str, Optional[TwitchError]]:
    """Return the metrics; if they say that Puppet cannot be read, with the reason."""
    try:
        answer = ask(Metrics())
    except (RootUnavailable, ConfigError) as error:
        return metrics.text(None), error
    if answer.metrics is None:
        return metrics.text(None), TwitchError(f"Puppet cannot be asked: {answer.reason}")
    return answer.metrics, None
