import { secretBuffer } from '../../lib/secretBuffer.ts';
import type { BodySubstitution, Placed, PlaceRequest } from './placed.ts';
import { SecretBuffers } from './secretBuffers.ts';

/** A part of the target: the agent's own text, or material. */
export type Segment = string | Buffer;

/** One request while placements that depend on it do their work. */
export class Draft {
  readonly request: PlaceRequest;
  /** Lower-case names of fields to drop; never those of `fixed`, which are dropped already. */
  readonly omit = new Set<string>();
  readonly lines: Buffer[] = [];
  path: readonly Segment[];
  query: readonly Segment[];
  /** Parameters to append to the query, `name=value` each. */
  readonly parameters: Buffer[] = [];
  body: BodySubstitution | undefined;
  /** What holds material for this request only; overwritten when it is finished. */
  readonly secrets = new SecretBuffers();
  readonly #fixed: Placed;

  constructor(request: PlaceRequest, fixed: Placed) {
    this.request = request;
    this.path = [request.path];
    this.query = [request.query];
    this.#fixed = fixed;
  }

  /** Whether the agent's fields of this name are dropped for a placed one. */
  drops(key: string): boolean {
    return this.#fixed.omit.has(key) || this.omit.has(key);
  }

  finish(): Placed {
    const fixed = this.#fixed;
    const own = this.lines.length > 0;
    const lines = own ? joined(fixed.lines === undefined ? this.lines : [fixed.lines, ...this.lines]) : fixed.lines;
    const omit = this.omit.size > 0 ? new Set([...fixed.omit, ...this.omit]) : fixed.omit;
    const placed = { target: this.#target(), lines, linesOwned: own, omit, body: this.body };
    this.secrets.destroy();
    return placed;
  }

  #target(): Buffer | undefined {
    const segments = [...this.path, ...this.query];
    const { parameters } = this;
    if (parameters.length === 0 && segments.every((segment) => typeof segment === 'string')) return undefined;
    let separator = this.query.every((segment) => segment.length === 0) ? '?' : '&';
    for (const parameter of parameters) {
      segments.push(separator, parameter);
      separator = '&';
    }
    return joined(segments);
  }
}

/** One Buffer of the exact size, without a copy in between. */
function joined(segments: readonly Segment[]): Buffer {
  const whole = secretBuffer(segments.reduce((sum, segment) => sum + segment.length, 0));
  let at = 0;
  for (const segment of segments) {
    at += typeof segment === 'string' ? whole.write(segment, at, 'latin1') : segment.copy(whole, at);
  }
  return whole;
}
