import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { pages, ROOT } from './pages.ts';

const all = pages();

test.for(all)('the links of $path lead somewhere', ({ path, text }) => {
  const broken: string[] = [];
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target!)) continue;
    const [file = '', anchor] = target!.split('#', 2);
    const to = file === '' ? path : normalize(join(dirname(path), file));
    if (!existsSync(join(ROOT, to))) broken.push(target!);
    else if (anchor !== undefined && !anchorsOf(to).has(anchor)) broken.push(target!);
  }
  expect(broken).toEqual([]);
});

/** As GitHub makes them of headings: lower case, without punctuation, dashes for spaces. */
function anchorsOf(path: string): Set<string> {
  const text = all.find((page) => page.path === path)?.text ?? '';
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
