import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ComponentRecord } from './component.ts';
import type { MachineRecord } from './machine.ts';
import type { RunningProcess } from './runningProcess.ts';

/** Each cluster of this checkout has a directory of its name here, while it runs. */
export const CLUSTERS = new URL('../../.cache/cluster/', import.meta.url).pathname;

/** What another process needs to know to find a cluster of our own, and to end it. */
export interface ClusterRecord {
  machine: MachineRecord;
  /** Who ends it, unless it is kept. */
  owner?: RunningProcess | undefined;
  /** Of the API server, for us. */
  port: number;
  components: ComponentRecord[];
}

export function recordOf(name: string): ClusterRecord | undefined {
  const file = join(CLUSTERS, name, 'record.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ClusterRecord) : undefined;
}

export function saveRecord(name: string, record: ClusterRecord): void {
  writeFileSync(join(CLUSTERS, name, 'record.json'), JSON.stringify(record, null, 2));
}
