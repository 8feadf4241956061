/** What the parts log with: structured fields first, then a fixed message. pino satisfies it; the sidecar brings a small one of its own. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
