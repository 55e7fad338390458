# @summary Runs Puppet on a few targets first and then on the rest, and stops if too many fail.
#
# The first targets are canaries, chosen at random. If they are good, the rest follows in batches of the size
# `at_once`. Targets where Puppet is disabled count as good, and targets that cannot be reached have a limit of their
# own. Runs that go on, and runs of which nothing is known any more, count as failures.
#
# For more than a few hundred targets, use the task `twitch::fleet`: it needs no process for each target.
#
# @param targets
#   The targets, with `transport: remote` in the inventory.
#
# @param noop
#   Whether Puppet only says what it would change.
#
# @param environment
#   The Puppet environment. The default is that of each node.
#
# @param tags
#   Only apply resources with one of these tags.
#
# @param label
#   A name of yours for the runs, such as the number of a ticket.
#
# @param canaries
#   How many targets are run first.
#
# @param at_once
#   How many targets of the rest are run at once. Bolt's own limit (`--concurrency`, 100) holds as well.
#
# @param max_failures
#   How many targets may fail before nothing more is started. If more have failed, the plan fails.
#
# @param max_unreachable
#   The same for targets that cannot be reached.
#
# @return [Array[Result]]
#   The results of all targets that were asked. Each has an `outcome`, or an error whose kind is
#   `twitch/failed`, `twitch/unreachable` and so on.
#
# @example Two canaries, then the rest, 20 at once
#   bolt plan run twitch::rollout --targets web label=CHG-123 canaries=2 at_once=20
plan twitch::rollout (
  TargetSpec $targets,
  Boolean $noop = false,
  Optional[String[1]] $environment = undef,
  Array[String[1]] $tags = [],
  Optional[String[1]] $label = undef,
  Integer[0] $canaries = 1,
  Integer[1] $at_once = 20,
  Integer[0] $max_failures = 0,
  Optional[Integer[0]] $max_unreachable = undef,
) {
  $options = {
    'noop'          => $noop,
    'environment'   => $environment,
    'tags'          => $tags,
    'label'         => $label,
    '_catch_errors' => true,
  }
  [$first, $rest] = canary::random_split(get_targets($targets), $canaries)
  $batches = ([$first] + $rest.slice($at_once)).filter |$batch| { !empty($batch) }

  $end = $batches.reduce({ 'results' => [], 'skipped' => [], 'why' => undef }) |$memo, $batch| {
    if $memo['why'] {
      $memo + { 'skipped' => $memo['skipped'] + $batch }
    } else {
      $results = $memo['results'] + run_task('twitch::run', $batch, 'Puppet', $options).results
      $bad = $results.filter |$result| { !$result.ok }
      $unreachable = $bad.filter |$result| { $result.error.kind == 'twitch/unreachable' }
      $failed = length($bad) - length($unreachable)
      $why = if $failed > $max_failures {
        "${failed} targets have failed"
      } elsif $max_unreachable and length($unreachable) > $max_unreachable {
        "${length($unreachable)} targets cannot be reached"
      }
      $memo + { 'results' => $results, 'why' => $why }
    }
  }

  if $end['why'] {
    $skipped = $end['skipped'].map |$target| { $target.name }
    fail_plan("${end['why']}; ${length($skipped)} targets were not started", 'twitch/rollout', {
        'results' => $end['results'],
        'skipped' => $skipped,
    })
  }
  return $end['results']
}
