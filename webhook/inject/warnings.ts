/** Of a warning longer than that the API server cuts the end off (KEP-1693: 256 characters; 4 KiB in all). */
const LENGTH_LIMIT = 256;
const COUNT_LIMIT = 12;

/** What people are told with the answer to their request: the same of several containers once. */
export class Warnings {
  readonly #containers = new Map<string, Set<string>>();
  readonly #pod: string[] = [];

  ofPod(text: string): void {
    this.#pod.push(text);
  }

  ofContainer(name: string, text: string): void {
    const names = this.#containers.get(text);
    if (names === undefined) this.#containers.set(text, new Set([name]));
    else names.add(name);
  }

  list(): string[] {
    const ofContainers = [...this.#containers].map(([text, names]) => `${named([...names])} ${text}`);
    const all = [...this.#pod, ...ofContainers].map((text) => shortened(`sidekey: ${text}`));
    if (all.length <= COUNT_LIMIT) return all;
    return [...all.slice(0, COUNT_LIMIT - 1), `sidekey: and ${all.length - COUNT_LIMIT + 1} more warnings`];
  }
}

function named(names: string[]): string {
  if (names.length === 1) return `container ${names[0]}`;
  const shown = names.slice(0, 3).join(', ');
  return `containers ${shown}${names.length > 3 ? ` and ${names.length - 3} more` : ''}`;
}

function shortened(text: string): string {
  return text.length <= LENGTH_LIMIT ? text : `${text.slice(0, LENGTH_LIMIT - 1)}…`;
}
