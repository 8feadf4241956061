import { type Refusal, refuse } from '../errors.ts';

/**
 * Why the path means different things to different readers (data path rule 4), or undefined.
 *
 * Dot segments, backslashes and encoded control bytes are refused always. Under path rules everything is refused that would let the
 * upstream see another path than the one that was matched.
 */
export function checkPath(path: string, pathRules: boolean): Refusal | undefined {
  if (!needsALook(path, pathRules)) return undefined;
  const problem = alwaysAmbiguous(path) ?? (pathRules ? ambiguousUnderRules(path) : undefined);
  return problem === undefined ? undefined : refuse('AmbiguousPath', `the path ${problem}`);
}

/** Ordinary paths have none of the marks of trouble. */
function needsALook(path: string, pathRules: boolean): boolean {
  return (
    path.includes('/.') ||
    path.includes('%') ||
    path.includes('\\') ||
    (pathRules && (path.includes('//') || path.includes(';')))
  );
}

function alwaysAmbiguous(path: string): string | undefined {
  if (path.includes('\\')) return 'has a backslash';
  if (/%[01][0-9a-f]|%7f/i.test(path)) return 'has an encoded control byte';
  // A segment as the most eager reader sees it: encoded slashes end it, and parameters are no part of its name.
  if (/(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?=\/|%2f|%5c|;|%3b|$)/i.test(path)) return 'has a dot segment';
  return undefined;
}

function ambiguousUnderRules(path: string): string | undefined {
  if (path.includes('//')) return 'has an empty segment, which the rules of the Integration do not take';
  if (/%2f/i.test(path)) return 'has an encoded slash, which the rules of the Integration do not take';
  if (/%5c/i.test(path)) return 'has an encoded backslash, which the rules of the Integration do not take';
  if (/(?:;|%3b)[^/]*\//i.test(path))
    return 'has parameters before a slash, which the rules of the Integration do not take';
  if (/%(?![0-9a-f]{2})/i.test(path)) return 'has a percent sign that encodes nothing';
  // RFC 3986 section 2.3: unreserved characters mean the same encoded, so only to hide them are they.
  if (/%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/i.test(path))
    return 'has encoded letters, digits, dashes, dots, underscores or tildes';
  return undefined;
}
