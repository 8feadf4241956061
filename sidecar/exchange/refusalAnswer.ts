import { REFUSALS, type Refusal } from '../errors.ts';
import { STATUS_CODES } from './statusText.ts';

/**
 * A refusal as an agent gets it: the code in `sidekey-error`, and a JSON body of the shape that the SDKs of OpenAI, Anthropic
 * and Stripe print (`error.message`), so that an agent reads the reason without knowing of Sidekey.
 */
export function refusalAnswer(refusal: Refusal, options: { headOnly: boolean; close: boolean }): Buffer {
  const { status, retryable, help } = REFUSALS[refusal.code];
  const body = Buffer.from(
    `${JSON.stringify({ error: { type: 'sidekey', code: refusal.code, message: `${refusal.detail} (${refusal.code}: ${help})`, retryable } })}\n`,
  );
  const head =
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nsidekey-error: ${refusal.code}\r\ncontent-type: application/json\r\n` +
    `content-length: ${body.length}\r\ncache-control: no-store\r\n` +
    (refusal.retryAfterSeconds === undefined ? '' : `retry-after: ${refusal.retryAfterSeconds}\r\n`) +
    (options.close ? 'connection: close\r\n' : '') +
    '\r\n';
  return options.headOnly ? Buffer.from(head, 'latin1') : Buffer.concat([Buffer.from(head, 'latin1'), body]);
}
