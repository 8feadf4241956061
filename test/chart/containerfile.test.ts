import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import parts from '../../rolldown.config.ts';
import { sidekeyImage } from '../cluster/images.ts';

const ROOT = join(import.meta.dirname, '../..');
const containerfile = readFileSync(join(ROOT, 'Containerfile'), 'utf8');
const dir = mkdtempSync(join(tmpdir(), 'sidekey-containerfile-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bundles = parts as { input: string; output: { file: string } }[];
const folders = [...new Set(bundles.map(({ input }) => input.split('/')[0]!))];
const programs = bundles.map(({ output }) => basename(output.file));

test('every folder that a bundle is made from is copied, and is let through by .dockerignore', () => {
  const copied = [...containerfile.matchAll(/^COPY (\S+) \1$/gm)].map((match) => match[1]);
  const letThrough = readFileSync(join(ROOT, '.dockerignore'), 'utf8').match(/(?<=^!)[^.\n]+$/gm);
  expect(copied.sort()).toEqual(['api', 'lib', ...folders].sort());
  expect(letThrough?.sort()).toEqual(['api', 'lib', ...folders].sort());
});

/** Runs the steps by which the image is put together, on this machine instead of in a stage. */
function assemble(name: string): string {
  const [, script] = [...containerfile.matchAll(/^RUN <<END\n(.*?)\nEND$/gms)].map((match) => match[1]!);
  const dist = join(dir, 'dist');
  mkdirSync(dist, { recursive: true });
  for (const program of programs) writeFileSync(join(dist, program), `console.log('${program}', process.getuid());\n`);
  const image = join(dir, name);
  const PATH = `${join(ROOT, 'node_modules/node/bin')}:/usr/sbin:/usr/bin:/sbin:/bin`;
  execFileSync('/bin/sh', ['-c', script!], { env: { PATH, ROOT: image, DIST: dist, SOURCE_DATE_EPOCH: '86400' } });
  return image;
}

/** Owner and group are of a user that only root can give files to; and only root can look from inside. */
test.runIf(process.getuid?.() === 0)(
  'the image has Node, nft and the parts, runs without root, and comes out the same again',
  () => {
    const image = assemble('one');
    const env = { PATH: process.env.PATH };
    const inside = (...args: string[]) => execFileSync('chroot', args, { encoding: 'utf8', env }).trim();
    for (const program of programs)
      expect(inside('--userspec=65532:65532', image, '/usr/local/bin/node', `/sidekey/${program}`)).toBe(
        `${program} 65532`,
      );
    expect(inside(image, '/usr/sbin/nft', '--version')).toMatch(/^nftables /);
    expect(readdirSync(join(image, 'usr')).sort()).toEqual(['lib', 'lib64', 'local', 'sbin']);
    expect(readdirSync(join(image, 'sidekey')).sort()).toEqual([...programs].sort());
    expect(digestOf(assemble('two'))).toBe(digestOf(image));
  },
);

test.runIf(process.getuid?.() === 0)(
  'the image that the tests put into clusters has the same paths, owners, modes and users, and starts the same way',
  async () => {
    const image = assemble('built');
    const { config, root } = await unpacked();
    expect(inventoryOf(root)).toEqual(inventoryOf(image));
    for (const file of ['etc/passwd', 'etc/group', 'etc/nsswitch.conf'])
      expect(readFileSync(join(root, file), 'utf8')).toBe(readFileSync(join(image, file), 'utf8'));
    const instruction = (name: string) =>
      containerfile
        .match(new RegExp(`^${name} (.*)$`, 'gm'))
        ?.at(-1)
        ?.slice(name.length + 1);
    expect(config).toMatchObject({
      User: instruction('USER'),
      WorkingDir: instruction('WORKDIR'),
      Entrypoint: JSON.parse(instruction('ENTRYPOINT')!),
    });
  },
  120_000,
);

interface Unpacked {
  root: string;
  config: object;
}

/** The image of test/cluster/images.ts, as a runtime would mount it. */
async function unpacked(): Promise<Unpacked> {
  const [archive, root] = [join(dir, 'archive'), join(dir, 'root')];
  for (const path of [archive, root]) mkdirSync(path);
  execFileSync('tar', ['-xf', '-', '-C', archive], { input: (await sidekeyImage()).archive });
  const json = (file: string) => JSON.parse(readFileSync(join(archive, file), 'utf8'));
  const [manifest] = json('manifest.json') as [{ Config: string; Layers: string[] }];
  for (const layer of manifest.Layers) execFileSync('tar', ['-xpf', join(archive, layer), '-C', root]);
  return { root, config: json(manifest.Config).config };
}

/** What is at each path: its type and mode, its owner, and where a link leads. */
function inventoryOf(image: string): Record<string, string> {
  const paths = readdirSync(image, { recursive: true, encoding: 'utf8' }).sort();
  const described = paths.map((path) => {
    const stat = lstatSync(join(image, path));
    const target = stat.isSymbolicLink() ? ` ${readlinkSync(join(image, path))}` : '';
    return [`/${path}`, `${stat.mode.toString(8)} ${stat.uid}:${stat.gid}${target}`];
  });
  return Object.fromEntries(described);
}

function digestOf(image: string): string {
  const archive = execFileSync('tar', ['--sort=name', '-cf', '-', '-C', image, '.'], { maxBuffer: 1 << 30 });
  return createHash('sha256').update(archive).digest('hex');
}
