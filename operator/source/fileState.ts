import type { Problem } from './objectSource.ts';
import type { ReadFile, ReadObject } from './readObjects.ts';

/** What one file last said, and what was last good of it. */
export class FileState {
  /** As scan.ts tells files apart. */
  readonly signature: string;
  /** `Kind namespace/name` → the object; holds what was last good where the file is broken now. */
  readonly objects: ReadonlyMap<string, ReadObject>;
  readonly problems: readonly Problem[];
  /** Named in the file, not valid, and never was. */
  readonly unread: readonly string[];
  /** Something is in it that could never be told. */
  readonly unreadable: boolean;

  constructor(file: string, signature: string, read: ReadFile, before: FileState | undefined) {
    this.signature = signature;
    const objects = new Map<string, ReadObject>();
    const problems = [...read.problems].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
    for (const object of read.objects) {
      const id = objectId(object);
      const first = objects.get(id);
      if (first === undefined) objects.set(id, object);
      else problems.push(twice(file, object, `line ${first.line} of the same file`));
    }
    for (const [id, object] of before?.objects ?? []) {
      // Half a file is no statement that the rest is gone.
      if (!objects.has(id) && (read.unreadable || read.broken.includes(id))) objects.set(id, object);
    }
    this.objects = objects;
    this.problems = problems;
    this.unread = read.broken.filter((id) => !objects.has(id));
    this.unreadable = read.unreadable && (before === undefined || before.unreadable);
  }
}

export function objectId(object: Pick<ReadObject, 'kind' | 'key'>): string {
  return `${object.kind} ${object.key}`;
}

/** The problem of an object that is there already. */
export function twice(file: string, object: ReadObject, where: string): Problem {
  return {
    file,
    line: object.line,
    object: objectId(object),
    message: `is also in ${where}, which wins; remove one of them`,
  };
}
