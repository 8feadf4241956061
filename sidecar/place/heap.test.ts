import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';

const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

/** Places and scrubs a key that only ever was bytes, then looks at its own heap. */
const CHILD = `
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { writeHeapSnapshot } from 'node:v8';
import { leaseOf, requestOf, PLACEHOLDER } from ${url('./testkit.ts')};
import { Plan } from ${url('./plan.ts')};
import { Scrubber } from ${url('../scrub/scrubber.ts')};

const [keyFile, snapshotFile] = process.argv.slice(1);
const key = randomBytes(40).map((byte) => 97 + (byte % 26));
writeFileSync(keyFile, key);
const lease = leaseOf({ value: Buffer.from(key) });
const placeholder = { placeholder: { in: ['Header', 'Query', 'Path', 'Body'] } };
const plans = [
  [{ header: { name: 'X-Key', format: 'Token {value}' } }, placeholder],
  [{ basic: { username: 'me' } }, { query: { name: 'key' } }, placeholder],
].map((inject) => Plan.compile({ inject, placeholder: PLACEHOLDER }));
globalThis.kept = [lease, plans];
for (let i = 0; i < 1000; i++) {
  const plan = plans[i % 2];
  const placed = plan.place(lease, requestOf({
    path: '/' + PLACEHOLDER,
    query: '?a=' + PLACEHOLDER,
    fields: [['X-Other', 'as ' + PLACEHOLDER], ['Authorization', 'Basic ' + btoa('me:' + PLACEHOLDER)]],
    contentType: 'application/json',
  }));
  placed.body.push(Buffer.from('{"k":"' + PLACEHOLDER + '"}'), (piece) => {
    const scrubber = new Scrubber(plan.needles(lease));
    scrubber.push(piece.subarray(0, 20), () => {});
    scrubber.push(piece.subarray(20), () => {});
    scrubber.head(placed.lines);
  });
}
writeHeapSnapshot(snapshotFile);
`;

test('a heap snapshot taken while a lease is in use contains none of its material (rule 13)', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-heap-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const [keyFile, snapshotFile] = [join(dir, 'key'), join(dir, 'heap.heapsnapshot')];
  await promisify(execFile)(process.execPath, ['--input-type=module', '-e', CHILD, keyFile, snapshotFile]);
  const key = readFileSync(keyFile);
  const snapshot = readFileSync(snapshotFile);
  expect(snapshot.includes('sidekeyPlaceholder')).toBe(true);
  // The middle alone would be enough to give it away, in any of its forms.
  expect(snapshot.includes(key.subarray(12, 28))).toBe(false);
  for (const before of [':', 'a:', 'me:']) {
    const digits = Buffer.from(`${before}${key}`).toString('base64').slice(12, 36);
    expect(snapshot.includes(digits)).toBe(false);
  }
});
