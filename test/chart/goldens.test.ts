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
});
