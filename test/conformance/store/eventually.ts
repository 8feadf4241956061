/** Waits until it is so. @throws Error after `limitMs` */
export async function eventually(what: () => boolean | Promise<boolean>, limitMs: number): Promise<void> {
  const untilMs = performance.now() + limitMs;
  while (!(await what())) {
    if (performance.now() > untilMs) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether it was done; what kept it from being done does not matter. */
export function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}
