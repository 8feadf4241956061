import type { Socket } from 'node:net';
import { holdForTurn } from './turn.ts';

/** Pieces up to this size together are joined into one write; larger ones are corked, which costs a copy less. */
const JOIN_LIMIT_BYTES = 16 * 1024;
/** Upstream chunks below this size are copies already (upstream/inlet.ts), so giving them back is not worth a callback. */
export const WORTH_RECYCLING_BYTES = 4 * 1024;

/** Gathers the pieces that one input gives rise to and writes them with one call to the socket, small ones at the end of the turn. */
export class Outbox {
  readonly #socket: Socket;
  /** A head in latin1, in front of all pieces: it becomes bytes where it is joined with them, which spares a copy. */
  #head = '';
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Whether anything was written: only then has the other side heard of what was added. */
  used = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** What was added and not written yet. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Before any piece. */
  addHead(latin1: string): void {
    this.#head = latin1;
    this.#bytes += latin1.length;
  }

  /** `piece` must stay as it is until it is written. */
  add(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }

  /**
   * Writes what was added. False: the socket wants no more until it drains.
   *
   * `written` is called once nothing reads the pieces any more (at once if there are none, or if they were copied).
   */
  flush(written?: () => void): boolean {
    const socket = this.#socket;
    const bytes = this.#bytes;
    const head = this.#head;
    const pieces = this.#pieces;
    const last = pieces.length - 1;
    if (bytes === 0) {
      written?.();
      return !socket.writableNeedDrain;
    }
    this.used = true;
    if (bytes <= JOIN_LIMIT_BYTES) holdForTurn(socket);
    if (last === 0 && head === '') {
      this.#reset();
      return socket.write(pieces[0]!, written);
    }
    if (bytes <= JOIN_LIMIT_BYTES) {
      const joined = Buffer.allocUnsafe(bytes);
      let at = head === '' ? 0 : joined.write(head, 0, 'latin1');
      for (const piece of pieces) at += piece.copy(joined, at);
      this.#reset();
      written?.();
      return socket.write(joined);
    }
    this.#reset();
    socket.cork();
    if (head !== '') socket.write(head, 'latin1');
    for (let i = 0; i < last; i++) socket.write(pieces[i]!);
    if (last >= 0) socket.write(pieces[last]!, written);
    socket.uncork();
    return !socket.writableNeedDrain;
  }

  /**
   * Writes `head` and what was added as one buffer that is overwritten once it is written, since it holds material; so is `head`
   * and, if `secretPieces`, every piece. False: the socket wants no more until it drains.
   */
  flushSecret(head: Buffer | undefined, secretPieces: boolean): boolean {
    const headBytes = head?.length ?? 0;
    if (headBytes + this.#bytes === 0) return !this.#socket.writableNeedDrain;
    if (headBytes + this.#bytes <= JOIN_LIMIT_BYTES) holdForTurn(this.#socket);
    let joined = head;
    if (joined === undefined || this.#bytes > 0) {
      // Memory of its own: a slice of Node's pool would leave copies of neighbours' material where others allocate.
      joined = Buffer.allocUnsafeSlow(headBytes + this.#bytes);
      head?.copy(joined);
      head?.fill(0);
      let at = headBytes;
      for (const piece of this.#pieces) {
        at += piece.copy(joined, at);
        if (secretPieces) piece.fill(0);
      }
      this.#reset();
    }
    const secret = joined;
    return this.#socket.write(secret, () => secret.fill(0));
  }

  #reset(): void {
    this.#head = '';
    this.#pieces = [];
    this.#bytes = 0;
  }
}
