import type { Credential } from '../../api/credential.ts';
import { parseDurationSeconds } from '../../api/duration.ts';
import type { Integration } from '../../api/integration.ts';
import type { SchemaIssue } from './schemaIssues.ts';

/** What the protocol between operator and store can say (api/protocolSchema.ts). */
const SECONDS_MIN = 1;
const SECONDS_MAX = 10_000_000;
/** The placeholder and records of an object carry its key. */
const KEY_LIMIT = 127;

/** Durations of a valid object that the store would not take. */
export function boundIssues(object: Credential | Integration): SchemaIssue[] {
  const issues: SchemaIssue[] = [];
  const check = (path: SchemaIssue['path'], text: string | undefined) => {
    const seconds = text === undefined ? SECONDS_MIN : (parseDurationSeconds(text) ?? 0);
    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX)
      issues.push({ path, message: `expected a duration from 1s to ${SECONDS_MAX}s` });
  };
  const { namespace, name } = object.metadata;
  if (namespace.length + 1 + name.length > KEY_LIMIT)
    issues.push({
      path: ['metadata', 'name'],
      message: `expected namespace and name to have at most ${KEY_LIMIT - 1} characters`,
    });
  if (object.kind === 'Credential') {
    check(['spec', 'source', 'generated', 'rotateEvery'], object.spec.source.generated?.rotateEvery);
    check(['spec', 'source', 'generated', 'overlap'], object.spec.source.generated?.overlap);
  } else {
    for (const [index, limit] of (object.spec.limits ?? []).entries())
      check(['spec', 'limits', index, 'window'], limit.window);
  }
  return issues;
}
