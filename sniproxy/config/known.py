"""
Which directives nginx has that nobody here declares, and why: so that each is refused by its name.

Strategy: the table is only asked about names that no module declares, so an entry ceases to matter on the day a
module takes its directive up, and none has to be removed then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SOLD: Final = "nginx sells it, and sniproxy does not have it yet"
NOT_CARRIED: Final = "it is not carried yet"


@dataclass(frozen=True, slots=True)
class Known:
    """
    A directive of nginx.

    @ivar reason: why it is not carried, in a few words.
    @ivar rooms: the first parts of the contexts it may stand in: C{main}, C{events}, C{stream}, C{http}, C{mail}.
    """

    reason: str
    rooms: frozenset[str]


_TABLE: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "main",
        NOT_CARRIED,
        "daemon error_log master_process pid user worker_cpu_affinity worker_priority worker_processes"
        " worker_rlimit_core worker_rlimit_nofile worker_shutdown_timeout",
    ),
    ("main", "OpenSSL has no engines any more", "ssl_engine"),
    ("main", "HTTP is not carried yet", "http"),
    ("main", "mail is not carried", "mail"),
    ("main", "there is no performance tool for it", "google_perftools_profiles"),
    ("main", SOLD, "mgmt"),
    ("main", NOT_CARRIED, "stream"),
    (
        "stream",
        NOT_CARRIED,
        "access_log allow deny error_log geo hash least_conn least_time limit_conn limit_conn_dry_run"
        " limit_conn_log_level limit_conn_zone listen log_format map pass preread_buffer_size preread_timeout"
        " proxy_bind proxy_buffer_size proxy_connect_timeout proxy_download_rate proxy_downstream_buffer"
        " proxy_half_close proxy_next_upstream proxy_next_upstream_timeout proxy_next_upstream_tries proxy_pass"
        " proxy_protocol proxy_protocol_timeout proxy_socket_keepalive proxy_socket_rcvbuf proxy_socket_sndbuf"
        " proxy_ssl proxy_ssl_alpn proxy_ssl_certificate proxy_ssl_certificate_cache proxy_ssl_certificate_key"
        " proxy_ssl_ciphers proxy_ssl_conf_command proxy_ssl_crl proxy_ssl_name proxy_ssl_password_file"
        " proxy_ssl_protocols proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_trusted_certificate"
        " proxy_ssl_verify proxy_ssl_verify_depth proxy_timeout proxy_upload_rate proxy_upstream_buffer random"
        " resolver resolver_timeout return server server_name set set_real_ip_from split_clients ssl_alpn"
        " ssl_certificate ssl_certificate_cache ssl_certificate_compression ssl_certificate_key ssl_ciphers"
        " ssl_client_certificate ssl_conf_command ssl_crl ssl_dhparam ssl_ecdh_curve ssl_handshake_timeout ssl_ocsp"
        " ssl_ocsp_cache ssl_ocsp_responder ssl_password_file ssl_prefer_server_ciphers ssl_preread ssl_protocols"
        " ssl_reject_handshake ssl_session_cache ssl_session_tickets ssl_session_timeout ssl_stapling"
        " ssl_stapling_file ssl_stapling_responder ssl_stapling_verify ssl_trusted_certificate ssl_verify_client"
        " ssl_verify_depth tcp_nodelay upstream zone",
    ),
    (
        "stream",
        SOLD,
        "health_check health_check_timeout keyval keyval_zone match mqtt mqtt_buffers mqtt_preread"
        " mqtt_rewrite_buffer_size mqtt_set_connect num_map proxy_bind_dynamic proxy_session_drop proxy_ssl_key_log"
        " ssl_key_log state status_zone zone_sync zone_sync_buffers zone_sync_connect_retry_interval"
        " zone_sync_connect_timeout zone_sync_interval zone_sync_recv_buffer_size zone_sync_server zone_sync_ssl"
        " zone_sync_ssl_certificate zone_sync_ssl_certificate_key zone_sync_ssl_ciphers zone_sync_ssl_conf_command"
        " zone_sync_ssl_crl zone_sync_ssl_name zone_sync_ssl_password_file zone_sync_ssl_protocols"
        " zone_sync_ssl_server_name zone_sync_ssl_trusted_certificate zone_sync_ssl_verify zone_sync_ssl_verify_depth"
        " zone_sync_timeout",
    ),
    ("stream http", "pyOpenSSL cannot set the keys of tickets", "ssl_session_ticket_key"),
    ("stream http", "pyOpenSSL cannot accept encrypted ClientHellos", "ssl_ech_file"),
    ("stream http", "modules are Python plugins here", "perl_modules perl_require"),
    (
        "stream http",
        "njs is not carried: modules are Python plugins here",
        "js_access js_body_filter js_content js_context_reuse js_engine js_fetch_buffer_size js_fetch_ciphers"
        " js_fetch_keepalive js_fetch_max_response_buffer_size js_fetch_protocols js_fetch_proxy js_fetch_timeout"
        " js_fetch_trusted_certificate js_fetch_verify js_fetch_verify_depth js_filter js_header_filter js_import"
        " js_include js_load_http_native_module js_path js_periodic js_preload_object js_preread js_set"
        " js_shared_dict_zone js_var",
    ),
    ("stream http", "databases of countries are not carried", "geoip_city geoip_country geoip_org geoip_proxy"),
    (
        "http",
        NOT_CARRIED,
        "absolute_redirect access_log add_after_body add_before_body add_header add_trailer addition_types aio"
        " aio_write alias allow ancient_browser ancient_browser_value auth_basic auth_basic_user_file auth_delay"
        " auth_request auth_request_set autoindex autoindex_exact_size autoindex_format autoindex_localtime break"
        " charset charset_map charset_types chunked_transfer_encoding client_body_buffer_size"
        " client_body_in_file_only client_body_in_single_buffer client_body_temp_path client_body_timeout"
        " client_header_buffer_size client_header_timeout client_max_body_size connection_pool_size"
        " create_full_put_path dav_access dav_methods default_type deny directio directio_alignment disable_symlinks"
        " early_hints empty_gif error_log error_page etag expires fastcgi_pass flv geo grpc_pass gunzip"
        " gunzip_buffers gzip gzip_buffers gzip_comp_level gzip_disable gzip_hash gzip_http_version gzip_min_length"
        " gzip_no_buffer gzip_proxied gzip_static gzip_types gzip_vary gzip_window hash http2 http2_body_preread_size"
        " http2_chunk_size http2_idle_timeout http2_max_concurrent_pushes http2_max_concurrent_streams"
        " http2_max_field_size http2_max_header_size http2_max_requests http2_pool_size http2_push http2_push_preload"
        " http2_recv_buffer_size http2_recv_timeout http2_streams_index_size http3 http3_hq"
        " http3_max_concurrent_streams http3_stream_buffer_size if if_modified_since ignore_invalid_headers"
        " image_filter index internal ip_hash keepalive keepalive_disable keepalive_min_timeout keepalive_requests"
        " keepalive_time keepalive_timeout large_client_header_buffers least_conn least_time limit_conn"
        " limit_conn_dry_run limit_conn_log_level limit_conn_status limit_conn_zone limit_except limit_rate"
        " limit_rate_after limit_req limit_req_dry_run limit_req_log_level limit_req_status limit_req_zone"
        " lingering_close lingering_time lingering_timeout listen location log_format log_not_found log_subrequest"
        " map max_headers max_ranges memcached_pass merge_slashes min_delete_depth mirror mirror_request_body"
        " modern_browser modern_browser_value mp4 mp4_buffer_size mp4_max_buffer_size mp4_start_key_frame"
        " msie_padding msie_refresh open_file_cache open_file_cache_errors open_file_cache_events"
        " open_file_cache_min_uses open_file_cache_valid output_buffers override_charset perl perl_set"
        " port_in_redirect post_action postpone_gzipping postpone_output proxy_allow_upstream proxy_bind proxy_cache"
        " proxy_cache_background_update proxy_cache_bypass proxy_cache_convert_head proxy_cache_key proxy_cache_lock"
        " proxy_cache_lock_age proxy_cache_lock_timeout proxy_cache_max_range_offset proxy_cache_methods"
        " proxy_cache_min_uses proxy_cache_path proxy_cache_revalidate proxy_cache_use_stale proxy_cache_valid"
        " proxy_force_ranges proxy_limit_rate proxy_no_cache proxy_ssl_alpn proxy_ssl_certificate"
        " proxy_ssl_certificate_cache proxy_ssl_certificate_key proxy_ssl_ciphers proxy_ssl_conf_command"
        " proxy_ssl_crl proxy_ssl_name proxy_ssl_password_file proxy_ssl_protocols proxy_ssl_server_name"
        " proxy_ssl_session_reuse proxy_ssl_trusted_certificate proxy_ssl_verify proxy_ssl_verify_depth proxy_store"
        " proxy_store_access quic_active_connection_id_limit quic_bpf quic_gso quic_host_key quic_retry random"
        " random_index read_ahead real_ip_header real_ip_recursive recursive_error_pages referer_hash_bucket_size"
        " referer_hash_max_size request_pool_size reset_timedout_connection resolver resolver_timeout return rewrite"
        " rewrite_log root satisfy scgi_pass secure_link secure_link_md5 secure_link_secret send_lowat send_timeout"
        " sendfile sendfile_max_chunk server server_name server_name_in_redirect server_tokens set set_real_ip_from"
        " slice source_charset split_clients ssi ssi_ignore_recycled_buffers ssi_last_modified ssi_min_file_chunk"
        " ssi_silent_errors ssi_types ssi_value_length ssl ssl_alpn ssl_buffer_size ssl_certificate"
        " ssl_certificate_cache ssl_certificate_compression ssl_certificate_key ssl_ciphers ssl_client_certificate"
        " ssl_conf_command ssl_crl ssl_dhparam ssl_early_data ssl_ecdh_curve ssl_ocsp ssl_ocsp_cache"
        " ssl_ocsp_responder ssl_password_file ssl_prefer_server_ciphers ssl_protocols ssl_reject_handshake"
        " ssl_session_cache ssl_session_tickets ssl_session_timeout ssl_stapling ssl_stapling_file"
        " ssl_stapling_responder ssl_stapling_verify ssl_trusted_certificate ssl_verify_client ssl_verify_depth"
        " sticky stub_status sub_filter sub_filter_last_modified sub_filter_once sub_filter_types"
        " subrequest_output_buffer_size tcp_nodelay tcp_nopush try_files tunnel_pass types underscores_in_headers"
        " uninitialized_variable_warn upstream userid userid_domain userid_expires userid_flags userid_mark"
        " userid_name userid_p3p userid_path userid_service uwsgi_pass valid_referers xml_entities xslt_stylesheet"
        " zone",
    ),
    ("http", "certificates are not ordered by sniproxy yet", "acme_certificate acme_issuer acme_shared_zone"),
    (
        "http",
        "OpenTelemetry is not carried",
        "otel_exporter otel_span_attr otel_span_name otel_trace otel_trace_context",
    ),
    (
        "http",
        SOLD,
        "api auth_jwt auth_jwt_claim_set auth_jwt_header_set auth_jwt_key_cache auth_jwt_key_file"
        " auth_jwt_key_request auth_jwt_leeway auth_jwt_require auth_jwt_type auth_oidc auth_require f4f"
        " f4f_buffer_size health_check hls hls_buffers hls_forward_args hls_fragment hls_mp4_buffer_size"
        " hls_mp4_max_buffer_size internal_redirect keyval keyval_zone match mp4_limit_rate mp4_limit_rate_after ntlm"
        " num_map oidc_provider proxy_bind_dynamic proxy_cache_purge proxy_ssl_key_log queue session_log"
        " session_log_format session_log_zone ssl_key_log state status status_format status_zone upstream_conf",
    ),
)


def _compiled() -> dict[str, Known]:
    found: dict[str, Known] = {}
    for rooms, reason, names in _TABLE:
        here = Known(reason, frozenset(rooms.split()))
        for name in names.split():
            before = found.get(name, here)
            found[name] = Known(before.reason, before.rooms | here.rooms)
    return found


KNOWN: Final = _compiled()
"""By name; where two rooms give two reasons the first one counts."""

FAMILIES: Final = ("fastcgi_", "grpc_", "memcached_", "scgi_", "uwsgi_")
"""The beginnings of the names by which HTTP speaks other protocols with its upstreams; none of them is carried."""


def refusal(name: str, room: str, *, declared: bool = False) -> str:
    """
    What is wrong with a directive that no module declares in this room.

    @param room: the first part of the context it stands in.
    @param declared: whether a module declares it for another room.
    """
    known = KNOWN.get(name)
    if known is None and name.startswith(FAMILIES):
        known = Known(NOT_CARRIED, frozenset(("http",)))
    if known is not None and room in known.rooms:
        return f'"{name}" directive is not supported by sniproxy: {known.reason}'
    if known is not None or declared:
        return f'"{name}" directive is not allowed here'
    return f'unknown directive "{name}"'
