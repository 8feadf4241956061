const COLOURS = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code: number, text: string) => (COLOURS ? `\x1b[${code}m${text}\x1b[0m` : text);

/** Tells what happens and keeps count of what did not hold. */
export class Narrator {
  #checks = 0;
  #failed: string[] = [];
  #silent = false;

  title(text: string): void {
    this.#print(`\n${paint(1, text)}`);
  }

  say(text: string): void {
    this.#print(`  ${text}`);
  }

  /** Says this and nothing more: what does not hold from here on is of no interest. */
  lastWord(text: string): void {
    this.title(`  ${text}`);
    this.#silent = true;
  }

  /** A command as its user would type it. */
  command(text: string): void {
    this.#print(paint(2, `  $ ${text}`));
  }

  /** One promise, and whether it held; `found` is what there was instead. */
  check(promise: string, held: boolean, found = ''): void {
    this.#checks += 1;
    if (held) this.#print(`  ${paint(32, '✓')} ${promise}`);
    else {
      this.#failed.push(promise);
      this.#print(`  ${paint(31, '✗')} ${promise}${found === '' ? '' : `: ${found}`}`);
    }
  }

  /** The last words. True if everything held. */
  sumUp(seconds: number): boolean {
    const { length } = this.#failed;
    this.title(
      length === 0
        ? `All ${this.#checks} checks held (${seconds.toFixed(1)} s).`
        : `${length} of ${this.#checks} checks did not hold: ${this.#failed.join('; ')}`,
    );
    return length === 0;
  }

  #print(line: string): void {
    if (!this.#silent) console.log(line);
  }
}
