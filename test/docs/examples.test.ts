import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { CredentialSpec } from '../../api/credential.ts';
import { IntegrationSpec } from '../../api/integration.ts';
import { decide } from '../../operator/decide/decide.ts';
import { againstNothing } from '../../operator/decide/input.ts';
import { FolderSource } from '../../operator/source/folder.ts';
import { blocksOf, pages, ROOT } from './pages.ts';

const EXAMPLES = join(ROOT, 'examples');
const folders = readdirSync(EXAMPLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

test.for(folders)('examples/%s has no problems, and every Integration of it is accepted', async (name) => {
  const { problems, refused, objects } = await decided(join(EXAMPLES, name));
  expect({ problems, refused }).toEqual({ problems: [], refused: [] });
  expect(objects).toBeGreaterThanOrEqual(2);
});

test('all examples can live in one folder', async () => {
  expect(await decided(EXAMPLES)).toMatchObject({ problems: [], refused: [] });
});

const yamlBlocks = pages().flatMap((page) => blocksOf(page).filter(({ language }) => language === 'yaml'));

test.for(yamlBlocks.filter(({ text }) => text.includes('apiVersion:')))(
  'the YAML at $at is read without problems',
  async ({ text }) => {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-docs-'));
    try {
      writeFileSync(join(dir, 'block.yaml'), text);
      expect(await decided(dir)).toMatchObject({ problems: [], refused: [] });
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);

test.for(yamlBlocks.filter(({ text }) => !text.includes('apiVersion:')))(
  'the piece of YAML at $at fits the spec of an Integration or a Credential',
  ({ text }) => {
    const pieces = Object.entries(parse(text) as Record<string, unknown>);
    expect(pieces).not.toEqual([]);
    const specs: Record<string, { parse(value: unknown): unknown }> = {
      ...CredentialSpec.shape,
      ...IntegrationSpec.shape,
    };
    for (const [name, value] of pieces) {
      expect(specs).toHaveProperty(name);
      expect(() => specs[name]!.parse(value)).not.toThrow();
    }
  },
);

/** What a folder gives: problems of its files, and conditions that say that an object is not valid. */
async function decided(path: string) {
  const source = new FolderSource(path);
  try {
    await source.start(() => {});
    const snapshot = source.snapshot();
    const { statuses } = decide(againstNothing(snapshot, new Date(0)));
    const refused = statuses.flatMap(({ kind, key, status }) =>
      status.conditions
        .filter(({ type, status: value }) => (type === 'Accepted' || type === 'SourceResolved') && value === 'False')
        // A value that nobody has given yet, or a Secret or Credential that a page shows elsewhere, is no fault of the YAML.
        .filter(({ reason }) => !['MaterialMissing', 'SecretDoesNotExist', 'CredentialDoesNotExist'].includes(reason))
        .map(({ reason, message }) => `${kind} ${key}: ${reason}: ${message}`),
    );
    return { problems: snapshot.problems, refused, objects: statuses.length };
  } finally {
    source.close();
  }
}
