import type { Condition } from '../../api/condition.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import type { Problem } from '../../operator/source/objectSource.ts';
import { printable, type Style } from '../terminal.ts';
import { age, table } from './table.ts';

type Paint = (style: Style, text: string) => string;
export type StatusObject = StatusFile['objects'][number];

export interface StatusView {
  paint: Paint;
  wide: boolean;
  nowMs: number;
}

/** Tables of credentials and integrations, then what is wrong and what to do about it. */
export function statusText(status: StatusFile, view: StatusView): string {
  const parts: string[] = [];
  const credentials = status.objects.filter((object) => object.kind === 'Credential');
  const integrations = status.objects.filter((object) => object.kind === 'Integration');
  if (credentials.length > 0) parts.push(credentialTable(credentials, view));
  if (integrations.length > 0) parts.push(integrationTable(integrations, view));
  const troubles = [...status.objects.flatMap((object) => troubleLines(object, view)), ...problemLines(status, view)];
  if (troubles.length > 0) parts.push(troubles.join('\n'));
  return parts.join('\n\n');
}

function credentialTable(objects: StatusObject[], { paint, wide, nowMs }: StatusView): string {
  const header = [
    'CREDENTIAL',
    'READY',
    'REASON',
    'SOURCE',
    'VERSION',
    'AGE',
    ...(wide ? ['PLACEHOLDER', 'FILE'] : []),
  ];
  const rows = objects.map((object) => [
    object.key,
    ...readyCells(object, paint),
    object.status.source ?? '-',
    object.status.version === undefined ? '-' : String(object.status.version),
    sinceReady(object, nowMs),
    ...(wide ? [object.status.placeholder ?? '-', object.file] : []),
  ]);
  return table(header, rows);
}

function integrationTable(objects: StatusObject[], { paint, wide, nowMs }: StatusView): string {
  const header = ['INTEGRATION', 'READY', 'REASON', 'CREDENTIAL', 'HOSTS', 'AGE', ...(wide ? ['FILE'] : [])];
  const rows = objects.map((object) => [
    object.key,
    ...readyCells(object, paint),
    object.credential ?? '-',
    hostsCell(object.hosts ?? [], wide),
    sinceReady(object, nowMs),
    ...(wide ? [object.file] : []),
  ]);
  return table(header, rows);
}

const HOSTS_SHOWN = 2;

function hostsCell(hosts: string[], wide: boolean): string {
  if (hosts.length === 0) return '-';
  if (wide || hosts.length <= HOSTS_SHOWN) return hosts.join(',');
  return `${hosts.slice(0, HOSTS_SHOWN).join(',')} + ${hosts.length - HOSTS_SHOWN} more`;
}

export function readyOf(object: StatusObject): Condition | undefined {
  return object.status.conditions.find((condition) => condition.type === 'Ready');
}

function readyCells(object: StatusObject, paint: Paint): [string, string] {
  const ready = readyOf(object);
  const status = ready?.status ?? 'Unknown';
  const style: Style = status === 'True' ? 'green' : status === 'False' ? 'red' : 'yellow';
  return [paint(style, status), ready?.reason ?? 'Pending'];
}

function sinceReady(object: StatusObject, nowMs: number): string {
  const since = readyOf(object)?.lastTransitionTime;
  return since === undefined ? '-' : age(nowMs - Date.parse(since));
}

/** A condition that asks for somebody's attention: false, except where false is the good news. */
function isTrouble(condition: Condition): boolean {
  return condition.type === 'HostConflict' ? condition.status === 'True' : condition.status !== 'True';
}

/** What is not as it should be, each message once, the cause rather than its sum in Ready. */
export function troubleLines(object: StatusObject, { paint }: Pick<StatusView, 'paint'>): string[] {
  const troubles = object.status.conditions.filter(isTrouble);
  const causes = troubles.filter((condition) => condition.type !== 'Ready');
  const seen = new Set<string>();
  return (causes.length > 0 ? causes : troubles).flatMap((condition) => {
    if (seen.has(condition.message)) return [];
    seen.add(condition.message);
    const sign = condition.type === 'HostConflict' ? paint('yellow', '!') : paint('red', '✗');
    const where = `${object.kind} ${object.key} (${object.file})`;
    const what = condition.type === 'HostConflict' ? `HostConflict, ${condition.reason}` : condition.reason;
    return [`${sign} ${where}: ${what}\n    ${printable(condition.message)}`];
  });
}

/** On one line, such as `a.yaml:4: Integration default/x: spec.hosts[0]: expected …`. */
export function problemText({ file, line, object, path, message }: Problem): string {
  const at = line === undefined ? file : `${file}:${line}`;
  return printable([at, object, path, message].filter((part) => part !== undefined && part !== '').join(': '));
}

export function problemLines(
  { problems }: Pick<StatusFile, 'problems'>,
  { paint }: Pick<StatusView, 'paint'>,
): string[] {
  return problems.map(({ file, object, path, message }) => {
    const where = [file, object, path].filter((part) => part !== undefined && part !== '').join(': ');
    return `${paint('red', '✗')} ${printable(where)}\n    ${printable(message)}`;
  });
}
