export interface TarEntry {
  /** Relative, without a leading slash. */
  path: string;
  mode: number;
  uid?: number;
  gid?: number;
  content: { file: Buffer } | { link: string } | 'dir';
}

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;

/** A tar archive (POSIX ustar) that only depends on what is in it: in order of paths, with all times zero. @throws RangeError for a path that is too long */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks: Buffer[] = [];
  for (const entry of [...entries].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const data = typeof entry.content === 'object' && 'file' in entry.content ? entry.content.file : Buffer.alloc(0);
    blocks.push(header(entry, data.length), data, Buffer.alloc(-data.length & (BLOCK_BYTES - 1)));
  }
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

function header({ content, gid = 0, mode, path, uid = 0 }: TarEntry, sizeBytes: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, at: number, bytes: number) =>
    block.write(`${value.toString(8).padStart(bytes - 1, '0')}\0`, at, 'latin1');
  const [name, prefix] = split(content === 'dir' ? `${path}/` : path);
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  octal(sizeBytes, 124, 12);
  octal(0, 136, 12);
  block.fill(' ', 148, 156);
  block.write(content === 'dir' ? '5' : 'link' in content ? '2' : '0', 156);
  if (typeof content === 'object' && 'link' in content) block.write(content.link, 157, NAME_BYTES);
  block.write('ustar\x0000', 257, 'latin1');
  block.write(prefix, 345);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

function split(path: string): [name: string, prefix: string] {
  if (Buffer.byteLength(path) <= NAME_BYTES) return [path, ''];
  const at = path.indexOf('/', path.length - NAME_BYTES - 1);
  if (at < 0 || at > PREFIX_BYTES || at === path.length - 1)
    throw new RangeError(`too long for a tar archive: ${path}`);
  return [path.slice(at + 1), path.slice(0, at)];
}
