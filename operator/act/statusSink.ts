import type { ObjectStatus } from '../../api/condition.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import type { Problem } from '../source/objectSource.ts';

/** Where statuses are told: a file beside a folder, or the status subresources of a cluster. */
export interface StatusSink {
  /** `Kind namespace/name` → the status last told; conditions that stay as they are keep their times. */
  readonly previous: ReadonlyMap<string, ObjectStatus>;
  /** Tells what is different from before. Whether anything is. */
  write(objects: StatusFile['objects'], problems: readonly Problem[]): boolean;
}
