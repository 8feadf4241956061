import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { template, valuesFiles } from './render.ts';

/** Those have tests of their own (test/policies); dashboards are files of the chart. */
const ELSEWHERE = /\nkind: ValidatingAdmissionPolicy(Binding)?\n|\n {2}name: \S+-dashboards\n/;

describe('what the chart renders', () => {
  test.each(valuesFiles())('with the values $name', async ({ file, name }) => {
    const { error, text } = await template('--values', file);
    expect(error).toBe('');
    const documents = text.split(/^---\n/m).filter((document) => document.trim() !== '' && !ELSEWHERE.test(document));
    await expect(documents.join('---\n')).toMatchFileSnapshot(`goldens/${name}.yaml`);
  });

  test('has a golden for each file of values, and no other', () => {
    const names = readdirSync(join(import.meta.dirname, 'goldens')).map((file) => file.replace(/\.yaml$/, ''));
    expect(names.sort()).toEqual(
      valuesFiles()
        .map(({ name }) => name)
        .sort(),
    );
  });
});
