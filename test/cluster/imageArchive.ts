import { createHash } from 'node:crypto';
import { type TarEntry, tar } from './tar.ts';

export interface ImageSpec {
  /** With registry and tag, as pods name it. */
  name: string;
  /** Tar archives, lowest first. */
  layers: readonly Buffer[];
  user?: string;
  env?: readonly string[];
  entrypoint?: readonly string[];
}

export interface Image {
  name: string;
  /** Of its manifest: what `NAME@sha256:…` names. */
  digest: string;
  /** As `docker load`, `kind load image-archive` and `ctr images import` read it. */
  archive: Buffer;
}

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * An image in one archive, both as an OCI image layout and as what `docker save` writes (OCI image-layout.md; the same bytes
 * of the same layers, whenever and wherever it is made).
 */
export function imageArchive({ entrypoint, env, layers, name, user }: ImageSpec): Image {
  const blobs = new Map<string, Buffer>();
  const put = (bytes: Buffer, mediaType: string) => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const layerBlobs = layers.map((layer) => put(layer, LAYER_TYPE));
  const architecture = ARCHITECTURES[process.arch] ?? process.arch;
  const config = put(
    json({
      architecture,
      os: 'linux',
      config: {
        ...(user && { User: user }),
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...(env ?? [])],
        ...(entrypoint && { Entrypoint: entrypoint }),
        WorkingDir: '/',
      },
      rootfs: { type: 'layers', diff_ids: layerBlobs.map((layer) => layer.digest) },
      history: layerBlobs.map(() => ({ created: '1970-01-01T00:00:00Z' })),
      created: '1970-01-01T00:00:00Z',
    }),
    CONFIG_TYPE,
  );
  const manifest = put(json({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: layerBlobs }), MANIFEST_TYPE);
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
  const platform = { architecture, os: 'linux' };
  const pathOf = (digest: string) => `blobs/${digest.replace(':', '/')}`;
  const files: [string, Buffer][] = [
    ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
    [
      'index.json',
      json({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [{ ...manifest, platform, annotations }] }),
    ],
    [
      'manifest.json',
      json([
        { Config: pathOf(config.digest), RepoTags: [name], Layers: layerBlobs.map((layer) => pathOf(layer.digest)) },
      ]),
    ],
    ...[...blobs].map(([digest, bytes]): [string, Buffer] => [pathOf(digest), bytes]),
  ];
  const archive = tar([
    ...['blobs', 'blobs/sha256'].map((path): TarEntry => ({ path, mode: 0o755, content: 'dir' })),
    ...files.map(([path, file]): TarEntry => ({ path, mode: 0o644, content: { file } })),
  ]);
  return { name, digest: manifest.digest, archive };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
