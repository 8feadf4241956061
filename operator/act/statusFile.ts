import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { CONDITION_REASONS, type ConditionReason, type ConditionType, type ObjectStatus } from '../../api/condition.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Problem } from '../source/objectSource.ts';
import type { StatusSink } from './statusSink.ts';

/** What is taken from a file of an earlier process: which status each condition had since when. */
const Earlier = z.object({
  objects: z.array(
    z.object({
      kind: z.enum(['Credential', 'Integration']),
      key: z.string(),
      status: z.object({
        conditions: z.array(
          z.object({
            type: z.string().transform((type) => type as ConditionType),
            status: z.enum(['True', 'False', 'Unknown']),
            reason: z
              .string()
              .refine((reason) => Object.hasOwn(CONDITION_REASONS, reason))
              .transform((reason) => reason as ConditionReason),
            message: z.string(),
            lastTransitionTime: z.iso.datetime().optional(),
          }),
        ),
      }),
    }),
  ),
});

/** The status of everything in a folder, in one file beside the store's state: written whole, and only when something changed. */
export class StatusWriter implements StatusSink {
  readonly #path: string;
  readonly #clock: Clock;
  #written = '';
  /** `Kind namespace/name` → the status last written. */
  previous: ReadonlyMap<string, ObjectStatus>;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
    this.previous = readEarlier(path);
  }

  /** Whether there was something to write. @throws the file system's error; the next call tries again. */
  write(objects: StatusFile['objects'], problems: readonly Problem[]): boolean {
    this.previous = new Map(objects.map(({ kind, key, status }) => [`${kind} ${key}`, status]));
    const said = { objects, problems: problems.map(problemEntry) };
    const text = JSON.stringify(said);
    if (text === this.#written) return false;
    const file: StatusFile = { reconciledAt: new Date(this.#clock.nowMs()).toISOString(), ...said };
    replaceFile(this.#path, `${JSON.stringify(file, null, 2)}\n`);
    this.#written = text;
    return true;
  }
}

function problemEntry({ file, line, message, object, path }: Problem): StatusFile['problems'][number] {
  return {
    file,
    ...(object !== undefined && { object }),
    ...(path !== undefined && { path }),
    message: line === undefined ? message : `line ${line}: ${message}`,
  };
}

/** A reader sees the file before or after, never half of it; mode 0600. */
function replaceFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  const descriptor = openSync(temporary, 'w', 0o600);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, path);
}

function readEarlier(path: string): ReadonlyMap<string, ObjectStatus> {
  try {
    const { objects } = Earlier.parse(JSON.parse(readFileSync(path, 'utf8')));
    return new Map(objects.map(({ kind, key, status }) => [`${kind} ${key}`, status as ObjectStatus]));
  } catch {
    // None yet, or of another version: the times of conditions begin now.
    return new Map();
  }
}
