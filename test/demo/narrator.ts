const COLOURS = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code: number, text: string) => (COLOURS ? `\x1b[${code}m${text}\x1b[0m` : text);

/** Tells what happens and keeps count of what did not hold. */
export class Narrator {
  #checks = 0;
  #failed: string[] = [];

  title(text: string): void {
    console.log(`\n${paint(1, text)}`);
  }

  say(text: string): void {
    console.log(`  ${text}`);
  }

  /** A command as its user would type it. */
  command(text: string): void {
    console.log(paint(2, `  $ ${text}`));
  }

  /** One promise, and whether it held; `found` is what there was instead. */
  check(promise: string, held: boolean, found = ''): void {
    this.#checks += 1;
    if (held) console.log(`  ${paint(32, '✓')} ${promise}`);
    else {
      this.#failed.push(promise);
      console.log(`  ${paint(31, '✗')} ${promise}${found === '' ? '' : `: ${found}`}`);
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
}
