import type { IncomingMessage, ServerResponse } from 'node:http';
import { MATERIAL_CONTENT_TYPE } from '../../api/fields.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import { storeError } from '../errors.ts';

/**
 * Reads a body into one Buffer of its own, and overwrites each piece it came in; the caller overwrites the Buffer.
 *
 * @throws MalformedRequest without a Content-Length, TooLarge
 */
export async function readMaterial(payload: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const length = Number(payload.headers['content-length'] ?? Number.NaN);
  if (!Number.isSafeInteger(length)) throw storeError('MalformedRequest', 'Material needs a Content-Length.');
  if (length > limitBytes)
    throw storeError('TooLarge', `Material is ${length} bytes, at most ${limitBytes} are taken.`);
  const frame = secretBuffer(length);
  let at = 0;
  try {
    for await (const piece of payload as AsyncIterable<Buffer>) {
      at += piece.copy(frame, at);
      piece.fill(0);
    }
  } catch (error) {
    frame.fill(0);
    throw storeError('MalformedRequest', 'The body was cut short.', { cause: error });
  }
  return frame;
}

/** Answers with a frame and overwrites it when it has left, or cannot any more. */
export function sendMaterial(response: ServerResponse, frame: Buffer, headers: Record<string, string | number>): void {
  const wipe = () => frame.fill(0);
  response.once('finish', wipe).once('close', wipe).once('error', wipe);
  response.writeHead(200, {
    'content-type': MATERIAL_CONTENT_TYPE,
    'content-length': frame.length,
    'cache-control': 'no-store',
    ...headers,
  });
  response.end(frame);
}
