import { BodyDecoder } from '../http1/body.ts';
import type { RequestHead } from '../http1/message.ts';
import type { AgentSide } from './agentSide.ts';

/** How much of a body is read that nobody wants. */
const LIMIT_BYTES = 64 * 1024;

/** Reads the rest of a refused request's body, where that is little, so that the connection can carry the next request. */
export class Discard {
  readonly #decoder: BodyDecoder;

  private constructor(decoder: BodyDecoder) {
    this.#decoder = decoder;
  }

  /** Takes what the agent's side holds of a body that nobody has read from yet. Undefined: it is not worth it, so close. */
  static begin(agent: AgentSide, { framing, expectContinue }: RequestHead): Discard | undefined {
    const discard = new Discard(new BodyDecoder(framing));
    const held = discard.done ? undefined : agent.takeHeld();
    if (held !== undefined) {
      try {
        const end = discard.push(held);
        if (end < held.length) agent.putBack(held.subarray(end));
      } catch {
        return undefined;
      }
    }
    // An agent that awaits 100 Continue need not send the body after a final answer, so where it ends is unclear.
    const little = framing.kind === 'length' && framing.bytes <= LIMIT_BYTES && !expectContinue;
    return discard.done || little ? discard : undefined;
  }

  get done(): boolean {
    return this.#decoder.done;
  }

  /** Returns where the body ends in `chunk`. @throws MalformedMessage */
  push(chunk: Buffer): number {
    return this.#decoder.decode(chunk, 0, nothing);
  }
}

function nothing(): void {}
