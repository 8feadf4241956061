/** Variables by which runtimes and tools find the CAs they trust; all are satisfied by a PEM bundle that holds the system's too. */
export const CA_VARIABLES = [
  'SSL_CERT_FILE',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'NODE_EXTRA_CA_CERTS',
  'GIT_SSL_CAINFO',
  'AWS_CA_BUNDLE',
  'DENO_CERT',
  'PIP_CERT',
  'CARGO_HTTP_CAINFO',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
] as const;

/** Of rarer tools: taken over only where the user has them, as they would lead past ours. */
export const RARE_CA_VARIABLES = [
  'NIX_SSL_CERT_FILE',
  'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE',
  'HTTPLIB2_CA_CERTS',
  'BUNDLE_SSL_CA_CERT',
  'npm_config_cafile',
] as const;
