/** meta/v1 MicroTime: RFC 3339 with exactly six digits, which is what the API server takes. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
