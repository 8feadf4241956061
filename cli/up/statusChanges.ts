import type { StatusFile } from '../../api/statusFile.ts';
import { problemLines, readyOf, type StatusObject, type StatusView, troubleLines } from '../render/status.ts';

/** What a person wants to know between two reconciles: one entry per object or problem that is new, gone or different. */
export function statusChanges(before: StatusFile, after: StatusFile, view: Pick<StatusView, 'paint'>): string[] {
  const lines: string[] = [];
  const old = new Map(before.objects.map((object) => [idOf(object), object]));
  for (const object of after.objects) {
    const previous = old.get(idOf(object));
    old.delete(idOf(object));
    if (previous === undefined) lines.push(changeLine(object, 'added', view));
    else if (markOf(previous) !== markOf(object)) lines.push(changeLine(object, 'changed', view));
  }
  for (const object of old.values()) lines.push(`${object.kind} ${object.key} removed`);
  const known = new Set(before.problems.map((problem) => JSON.stringify(problem)));
  const left = new Set(after.problems.map((problem) => JSON.stringify(problem)));
  lines.push(
    ...problemLines({ problems: after.problems.filter((problem) => !known.has(JSON.stringify(problem))) }, view),
  );
  for (const problem of before.problems) {
    if (!left.has(JSON.stringify(problem))) lines.push(`${view.paint('green', '✓')} ${problem.file}: in order again`);
  }
  return lines;
}

function changeLine(object: StatusObject, what: string, view: Pick<StatusView, 'paint'>): string {
  const troubles = troubleLines(object, view);
  if (troubles.length > 0) return troubles.join('\n');
  const version = object.status.version === undefined ? '' : `, version ${object.status.version}`;
  return `${view.paint('green', '✓')} ${object.kind} ${object.key} ${what}: ${readyOf(object)?.reason ?? 'Pending'}${version}`;
}

function idOf(object: StatusObject): string {
  return `${object.kind} ${object.key}`;
}

/** All that makes a difference to a reader; times do not. */
function markOf(object: StatusObject): string {
  return JSON.stringify([
    object.hosts,
    object.credential,
    object.status.version,
    object.status.placeholder,
    object.status.conditions.map(({ type, status, reason, message }) => [type, status, reason, message]),
  ]);
}
