/** Every coded refusal: its HTTP status and the text a stranger may read, in English and Indonesian. */
export const ERRORS = {
  invalid_request: [
    400,
    'The request is not in the form this address expects.',
    'Bentuk permintaan tidak sesuai.',
  ],
  invalid_argument: [400, 'A value is not acceptable.', 'Nilai tidak dapat diterima.'],
  authentication_required: [
    401,
    'A valid operator token is required.',
    'Diperlukan token operator yang sah.',
  ],
  sign_in_required: [401, 'Sign in first.', 'Silakan masuk terlebih dahulu.'],
  stream_ticket_invalid: [
    401,
    'This ticket does not open a stream. Ask for a new one.',
    'Tiket ini tidak membuka aliran. Mintalah yang baru.',
  ],
  invalid_credentials: [401, 'Email, password or code is wrong.', 'Email, kata sandi, atau kode salah.'],
  totp_required: [
    401,
    'The code of the authenticator is needed too.',
    'Kode dari aplikasi autentikator juga diperlukan.',
  ],
  take_over_invalid: [
    401,
    'This take-over was used, has expired, or never was. Sign in again.',
    'Pengambilalihan ini sudah dipakai, kedaluwarsa, atau tidak ada. Silakan masuk lagi.',
  ],
  setup_code_invalid: [
    401,
    'This set-up code is not valid, or a superadmin exists already.',
    'Kode penyiapan tidak sah, atau superadmin sudah ada.',
  ],
  not_permitted: [403, 'Your role does not permit this.', 'Peran Anda tidak mengizinkan hal ini.'],
  not_found: [404, 'There is nothing at this address.', 'Tidak ada apa pun di alamat ini.'],
  product_not_found: [404, 'There is no such product.', 'Produk tidak ditemukan.'],
  licence_not_found: [404, 'There is no such licence.', 'Lisensi tidak ditemukan.'],
  device_not_found: [404, 'There is no such device.', 'Perangkat tidak ditemukan.'],
  token_not_found: [404, 'There is no such token.', 'Token tidak ditemukan.'],
  key_not_found: [404, 'There is no such key.', 'Kunci tidak ditemukan.'],
  user_not_found: [404, 'There is no such user.', 'Pengguna tidak ditemukan.'],
  session_not_found: [404, 'There is no such session.', 'Sesi tidak ditemukan.'],
  request_timeout: [408, 'The request did not arrive in time.', 'Permintaan tidak tiba tepat waktu.'],
  product_exists: [409, 'A product with this code exists already.', 'Produk dengan kode ini sudah ada.'],
  user_exists: [409, 'A user with this email exists already.', 'Pengguna dengan email ini sudah ada.'],
  session_limit: [
    409,
    'You are signed in elsewhere as often as you may be.',
    'Anda sudah masuk di tempat lain sebanyak yang diizinkan.',
  ],
  session_asked: [
    409,
    'Whoever is signed in elsewhere was asked to make way. Try again shortly.',
    'Sesi lain sudah diminta untuk keluar. Coba lagi sebentar.',
  ],
  session_kept: [409, 'Whoever is signed in elsewhere does not make way.', 'Sesi lain menolak untuk keluar.'],
  session_state: [409, 'The session was not asked to make way.', 'Sesi ini tidak diminta untuk keluar.'],
  totp_state: [
    409,
    'One-time codes are not in a state that allows this.',
    'Status kode sekali pakai tidak mengizinkan hal ini.',
  ],
  licence_state: [
    409,
    'The licence is not in a state that allows this.',
    'Status lisensi tidak mengizinkan hal ini.',
  ],
  key_state: [409, 'The key is not in a state that allows this.', 'Status kunci tidak mengizinkan hal ini.'],
  licence_key_exists: [409, 'The licence has a key already.', 'Lisensi ini sudah memiliki kunci.'],
  import_source: [422, 'The old data cannot be read.', 'Data lama tidak dapat dibaca.'],
  password_too_short: [422, 'The password is too short.', 'Kata sandi terlalu pendek.'],
  password_too_long: [422, 'The password is too long.', 'Kata sandi terlalu panjang.'],
  password_too_common: [
    422,
    'The password is one of the first that anybody would try.',
    'Kata sandi ini termasuk yang paling mudah ditebak.',
  ],
  totp_invalid: [422, 'This code is not valid now.', 'Kode ini tidak berlaku saat ini.'],
  body_too_large: [413, 'The body is larger than 16 KiB.', 'Isi permintaan lebih besar dari 16 KiB.'],
  unsupported_media_type: [
    415,
    'This content type is not served here.',
    'Jenis konten ini tidak dilayani di sini.',
  ],
  too_many_requests: [
    429,
    'Too many requests. Try again later.',
    'Terlalu banyak permintaan. Coba lagi nanti.',
  ],
  too_many_streams: [
    429,
    'This session has too many streams open already.',
    'Sesi ini sudah membuka terlalu banyak aliran.',
  ],
  headers_too_large: [431, 'The headers are too large.', 'Header permintaan terlalu besar.'],
  internal: [500, 'Something went wrong on the server.', 'Terjadi kesalahan di server.'],
  server_busy: [503, 'Too much is going on. Try again shortly.', 'Server sedang sibuk. Coba lagi sebentar.'],
  store_unavailable: [
    503,
    'The database does not answer. Try again shortly.',
    'Basis data tidak menjawab. Coba lagi.',
  ],
  legacy_product_unset: [
    503,
    'It is not settled whose customers the old programs are: LEGACY_PRODUCT names no product.',
    'Belum jelas pelanggan siapa program lama ini: LEGACY_PRODUCT tidak menunjuk produk mana pun.',
  ],
  legacy_disabled: [
    503,
    'The old programs are switched off for this product.',
    'Program lama dimatikan untuk produk ini.',
  ],
} as const satisfies Record<string, readonly [status: number, en: string, id: string]>

export type ErrorCode = keyof typeof ERRORS

/**
 * A coded refusal. `message` is safe to show to anybody; what is only for the operator (which value, which row) goes
 * into `detail`, which the command line prints and HTTP does not, or into `cause`, which only the log sees.
 */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly detail: string | undefined
  /** In how many seconds the same may be tried again, where that is known. */
  readonly retryAfterS: number | undefined

  constructor(code: ErrorCode, options: { detail?: string; cause?: unknown; retryAfterS?: number } = {}) {
    super(ERRORS[code][1], { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.detail = options.detail
    this.retryAfterS = options.retryAfterS
  }

  get status(): number {
    return ERRORS[this.code][0]
  }
}

/** The database did not do what it was asked: unreachable, overloaded, a missing table. Never an answer about data. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
}

/** What stops a start or a command before any work is done. The message says what is wrong, where, and what mends it. */
export class SetupError extends Error {
  override readonly name = 'SetupError'
}
