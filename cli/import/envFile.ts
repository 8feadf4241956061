/** One stretch of a .env file: a variable, or text that is kept as it is. */
export type EnvPart =
  | { kind: 'variable'; name: string; value: string /** `export ` if it was there. */; lead: string; raw: string }
  | { kind: 'text'; raw: string };

const VARIABLE = /^([ \t]*(?:export[ \t]+)?)([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*/;
const DOUBLE_QUOTED = /^"((?:[^"\\]|\\[\s\S])*)"[ \t]*(?:#[^\n]*)?(?:\n|$)/;
const SINGLE_QUOTED = /^'([^']*)'[ \t]*(?:#[^\n]*)?(?:\n|$)/;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** Reads a .env file as dotenv and shells agree on it: `export`, quotes (double ones with escapes, both over several lines), comments. */
export function parseEnv(text: string): EnvPart[] {
  const parts: EnvPart[] = [];
  let rest = text.replace(/\r\n/g, '\n');
  while (rest !== '') {
    const part = nextPart(rest);
    parts.push(part);
    rest = rest.slice(part.raw.length);
  }
  return parts;
}

function nextPart(rest: string): EnvPart {
  const lineEnd = rest.indexOf('\n') < 0 ? rest.length : rest.indexOf('\n') + 1;
  const start = VARIABLE.exec(rest.slice(0, lineEnd));
  if (start === null) return { kind: 'text', raw: rest.slice(0, lineEnd) };
  const [assignment, lead = '', name = ''] = start;
  const after = rest.slice(assignment.length);
  const quoted = DOUBLE_QUOTED.exec(after) ?? SINGLE_QUOTED.exec(after);
  if (quoted !== null) {
    const value = after.startsWith('"') ? unescaped(quoted[1]!) : quoted[1]!;
    return { kind: 'variable', lead, name, value, raw: assignment + quoted[0] };
  }
  const value = rest
    .slice(assignment.length, lineEnd)
    .replace(/\n$/, '')
    .replace(/(^|[ \t]+)#.*$/, '')
    .trim();
  return { kind: 'variable', lead, name, value, raw: rest.slice(0, lineEnd) };
}

function unescaped(text: string): string {
  return text.replace(/\\([\s\S])/g, (_, character: string) => ESCAPES[character] ?? character);
}
