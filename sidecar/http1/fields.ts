import { consistsOf, TOKEN, VALUE } from './octets.ts';

/** Header or trailer fields in order, as parallel arrays; a name may come several times. */
export class Fields {
  /** As sent. */
  readonly names: string[] = [];
  /** Lower case. */
  readonly keys: string[] = [];
  /** One character per byte (latin1), without white space around. */
  readonly values: string[] = [];

  get length(): number {
    return this.keys.length;
  }

  /** The first value of `key`, which is in lower case. */
  get(key: string): string | undefined {
    const at = this.keys.indexOf(key);
    return at === -1 ? undefined : this.values[at];
  }

  has(key: string): boolean {
    return this.keys.includes(key);
  }

  /** @throws TypeError if this could not stand on one line of a head */
  add(name: string, value: string): void {
    if (!consistsOf(name, TOKEN) || (value !== '' && !consistsOf(value, VALUE)))
      throw new TypeError('not a field line');
    this.names.push(name);
    this.keys.push(name.toLowerCase());
    this.values.push(value);
  }

  /** Drops all fields whose key is in `keys`. */
  drop(keys: ReadonlySet<string>): void {
    let kept = 0;
    for (let at = 0; at < this.keys.length; at++) {
      if (!keys.has(this.keys[at]!)) this.move(at, kept++);
    }
    this.truncate(kept);
  }

  /** Puts the field at `from` in the place of the one at `to`. */
  move(from: number, to: number): void {
    if (from === to) return;
    this.names[to] = this.names[from]!;
    this.keys[to] = this.keys[from]!;
    this.values[to] = this.values[from]!;
  }

  /** Drops all fields from `length` on. */
  truncate(length: number): void {
    if (length === this.keys.length) return;
    this.names.length = length;
    this.keys.length = length;
    this.values.length = length;
  }
}
