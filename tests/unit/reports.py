"""Reports as Puppet 7.23 and 8.10 write them, line for line, but shortened."""

from __future__ import annotations

RUN = "0123456789abcdef0123456789abcdef"
BEGAN = 1769072700.5  # 2026-01-22 09:05:00.5 UTC

FINE = "File[/root/fine]"

# How Puppet writes the name of a resource where it is a value, for odd titles.
TITLES = {
    "File[/root/made]": "File[/root/made]",
    'File[/root/"quoted"]': 'File[/root/"quoted"]',
    "Exec[fails: with # and 'quotes']": "'Exec[fails: with # and ''quotes'']'",
    "Exec[fails here]": "|-\n      Exec[fails\n      here]",
    f"Exec[{'a-long-command ' * 9}end]": f"Exec[{'a-long-command ' * 4}a-long-command\n"
    f"      {'a-long-command ' * 4}end]",
    "Exec[-x]": "Exec[-x]",
    "Notify[2024-02-30]": "Notify[2024-02-30]",
    "Exec[naïve]": "Exec[naïve]",
}


def report(
    *,
    job_id: str = RUN,
    status: str = "changed",
    completed: bool = True,
    noop: bool = False,
    noop_pending: bool = False,
    environment: str = "production",
    cached: str = "not_used",
    failed: tuple[str, ...] = (),
    version: str = "1795403100",
) -> str:
    """Return a report. `failed` are keys of TITLES; a job id of '' is left out."""
    job = f"job_id: {job_id}\n" if job_id else ""
    return (
        f"""\
--- !ruby/object:Puppet::Transaction::Report
host: node.example.com
time: '2026-01-22T09:05:00.500000000+00:00'
configuration_version: {version}
transaction_uuid: 51308328-235e-43b6-9328-3018b87af00a
report_format: 12
puppet_version: 7.23.0
status: {status}
transaction_completed: {str(completed).lower()}
noop: {str(noop).lower()}
noop_pending: {str(noop_pending).lower()}
environment: {environment}
logs:
- level: err
  message: 'change from ''notrun'' to [''0''] failed: ''/bin/false'' returned 1 instead
    of one of [0]'
  source: "/Stage[main]/Main/Exec[fails]/returns"
  tags:
  - err
  time: '2026-01-22T09:05:01.384389834+00:00'
  file: "/root/site.pp"
  line: 2
- level: notice
  message: |-
    a message with lines

    status: unchanged
    failed: true
  source: Puppet
  tags:
  - notice
  time: '2026-01-22T09:05:01.385132877+00:00'
  file:
  line:
metrics:
  resources:
    name: resources
    label: Resources
    values:
    - - total
      - Total
      - 12
    - - skipped
      - Skipped
      - 0
    - - failed
      - Failed
      - {len(failed)}
    - - failed_to_restart
      - Failed to restart
      - 0
    - - changed
      - Changed
      - 3
    - - out_of_sync
      - Out of sync
      - 4
    - - corrective_change
      - Corrective change
      - 1
  time:
    name: time
    label: Time
    values:
    - - file
      - File
      - 0.002722192
    - - total
      - Total
      - 2.25
resource_statuses:
"""
        + "".join(_resource(name, name in failed) for name in (FINE, *failed))
        + f"""\
corrective_change: false
catalog_uuid: c6ec5dfd-74a7-4f35-b67c-769b7bf49c97
{job}cached_catalog_status: {cached}
"""
    )


def _resource(name: str, failed: bool) -> str:
    value = TITLES.get(name, name)
    long_key = value.replace("\n      ", "\n    ")
    key = f"  ? {long_key}\n  : " if "\n" in value else f"  {value}:\n    "
    return f"""\
{key}title: x
    file: "/root/site.pp"
    line: 1
    resource: {value}
    resource_type: Exec
    provider_used: posix
    containment_path:
    - Stage[main]
    - {value}
    evaluation_time: 0.002468044
    tags:
    - class
    time: '2026-01-22T09:05:00.364537089+00:00'
    failed: {str(failed).lower()}
    failed_to_restart: false
    changed: {str(not failed).lower()}
    events:
    - audited: false
      property: ensure
      message: 'a message
        failed: true'
      status: {"failure" if failed else "success"}
    corrective_change: false
"""


SUMMARY = """\
---
version:
  config: 1795403102
  puppet: 7.23.0
application:
  run_mode: agent
  initial_environment: production
  converged_environment: staging
resources:
  changed: 1
  corrective_change: 0
  failed: 0
  failed_to_restart: 0
  out_of_sync: 1
  restarted: 0
  scheduled: 0
  skipped: 0
  total: 8
time:
  catalog_application: 0.011654092999378918
  config_retrieval: 0.070180867
  total: 2.25
  transaction_evaluation: 0.006435945999328396
  last_run: 1769072702
changes:
  total: 1
events:
  total: 1
"""
