/** What programs of a cluster are started with: no proxy of ours, through which an API server would call webhooks, and all programs of the system on the PATH. */
export function environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: process.env.HOME ?? '/root',
    ...more,
  };
}
