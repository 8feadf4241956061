/** Where everything is kept that tells why a run failed. */
export const LOGS_DIR = new URL('../../../.cache/e2e-logs/', import.meta.url).pathname;
