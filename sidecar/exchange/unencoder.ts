import type { Transform } from 'node:stream';

/** Loaded when the first coded answer comes: most sidecars never see one. */
function decoderOf(coding: string): Transform | undefined {
  const zlib = process.getBuiltinModule('node:zlib');
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip();
    case 'deflate':
      return zlib.createInflate();
    case 'br':
      return zlib.createBrotliDecompress();
    case 'zstd':
      return zlib.createZstdDecompress();
    default:
      return undefined;
  }
}

export interface UnencoderSink {
  data(piece: Buffer): void;
  end(): void;
  error(error: Error): void;
  /** The decoder has room again. */
  drain(): void;
}

/**
 * Undoes a content coding so that the answer to a credentialed request can be looked through for the material.
 *
 * Such requests ask for `identity`; this is for upstreams that code regardless. `coding` in lower case. Undefined for one
 * that we cannot undo, several on top of each other among them.
 */
export function createUnencoder(coding: string, sink: UnencoderSink): Transform | undefined {
  const decoder = decoderOf(coding);
  if (decoder === undefined) return undefined;
  decoder.on('data', sink.data);
  decoder.on('end', sink.end);
  decoder.on('error', sink.error);
  decoder.on('drain', sink.drain);
  return decoder;
}
