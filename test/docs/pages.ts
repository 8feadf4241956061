import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

/** A page that people read, by its path in the repository. */
export interface Page {
  path: string;
  text: string;
}

/** A fenced block of a page and where it begins. */
export interface Block {
  /** `docs/how-to.md:12` */
  at: string;
  language: string;
  text: string;
}

/** README, and every Markdown page of docs/ and examples/. */
export function pages(): Page[] {
  const found = ['docs', 'examples'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  );
  return ['README.md', ...found.sort()].map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

export function blocksOf({ path, text }: Page): Block[] {
  const blocks: Block[] = [];
  let open: Block | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^ *```(\w*)/.exec(line);
    if (fence === null) {
      if (open !== undefined) open.text += `${line}\n`;
    } else if (open === undefined) {
      open = { at: `${path}:${index + 1}`, language: fence[1]!, text: '' };
    } else {
      blocks.push(open);
      open = undefined;
    }
  }
  return blocks;
}

/** Text in single backticks outside of fenced blocks. */
export function inlineCodeOf({ text }: Page): string[] {
  const prose = text.replaceAll(/^ *```[\s\S]*?^ *```/gm, '');
  return [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
}
