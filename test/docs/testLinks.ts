import { existsSync, readFileSync } from 'node:fs';

export interface TestLink {
  name: string;
  /** Relative to the page. */
  file: string;
}

/** The rows of a page's tables that link to tests. */
export function testRows(text: string): string[] {
  return text.split('\n').filter((line) => line.startsWith('| ') && line.includes('.test.ts)'));
}

export function testLinks(rows: readonly string[]): TestLink[] {
  return rows.flatMap((row) =>
    [...row.matchAll(/\[([^\]]+)\]\(([^)]+\.test\.ts)\)/g)].map(([, name, file]) => ({ name: name!, file: file! })),
  );
}

/** Those that name no test of their file. */
export function missingTests(links: readonly TestLink[], page: URL): TestLink[] {
  return links.filter(({ name, file }) => {
    const url = new URL(file, page);
    return !existsSync(url) || !names(readFileSync(url, 'utf8')).includes(name);
  });
}

/** The names of tests and groups in a source text, as written. */
function names(source: string): string[] {
  return [
    ...source.matchAll(
      /\b(?:test|describe)(?:\.(?:each|for|runIf)(?:<[\s\S]*?>)?\([\s\S]*?\))?\(\s*(['"`])((?:\\.|(?!\1)[^\\])+)\1/g,
    ),
  ].map(([, , name]) => name!.replace(/\\(.)/g, '$1'));
}
