/* SPDX-License-Identifier: MIT
 *
 * config.c: config.json of an output folder: the input's text, with one member
 * added or replaced.
 *
 * The text is edited, not parsed and printed: a number such as 1e-05 and the order
 * of members stay as their author wrote them. It is parsed first all the same, so
 * the scan below meets nothing but good JSON.
 */
#include "parts.h"

#include <jansson.h>
#include <string.h>

static const char member_name[] = "quantization_config";

static const char *skip_spaces(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* at: the opening quote; behind the closing one. */
static const char *skip_string(const char *at)
{
	for (at++; *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

static const char *skip_value(const char *at)
{
	int depth = 0;
	for (;; at++) {
		while (*at == '"') {
			at = skip_string(at);
			if (depth == 0)
				return at;
		}
		if (depth == 0 && strchr(",}] \t\r\n", *at)) /* the end of a number, true, false, null */
			return at;
		if (*at == '{' || *at == '[')
			depth++;
		else if ((*at == '}' || *at == ']') && --depth == 0)
			return at + 1;
	}
}

static bool is_named(const char *begin, const char *end, const char *name)
{
	json_t *key = json_loadb(begin, (size_t)(end - begin), JSON_DECODE_ANY, NULL);
	bool is_it = json_is_string(key) && strcmp(json_string_value(key), name) == 0;
	json_decref(key);
	return is_it;
}

/* Where in an object's text a member's value stands; if it has none: where its last value ends. */
typedef struct Place {
	const char *begin, *end; /* of the value; begin NULL: there is no such member */
	const char *last;        /* behind the last value; NULL: the object is empty */
} Place;

static Place find_member(const char *object, const char *name)
{
	Place place = {NULL, NULL, NULL};
	const char *at = skip_spaces(skip_spaces(object) + 1);
	while (*at == '"') {
		const char *key_end = skip_string(at);
		const char *value = skip_spaces(skip_spaces(key_end) + 1), *end = skip_value(value);
		if (is_named(at, key_end, name)) {
			place.begin = value;
			place.end = end;
		}
		place.last = end;
		at = skip_spaces(end);
		at = skip_spaces(*at == ',' ? at + 1 : at);
	}
	return place;
}

/* The value as config.json shows it one level deep; NULL: error. */
static const char *indent_value(Pool *pool, const char *path, const char *value, CmprtError *error)
{
	json_error_t reason;
	json_t *root = json_loads(value, JSON_REJECT_DUPLICATES, &reason);
	char *lines = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
	json_decref(root);
	if (!lines) {
		error_set(error, path, "%s is not good JSON at byte %d: %s", member_name, reason.position, reason.text);
		return NULL;
	}
	Bytes text = {pool, NULL, 0, 0};
	for (const char *line = lines, *end; *line; line = end) {
		end = strchr(line, '\n');
		end = end ? end + 1 : line + strlen(line);
		bytes_text(&text, line == lines ? "" : "  ");
		bytes_append(&text, line, (size_t)(end - line));
	}
	json_free_t free_lines;
	json_get_alloc_funcs(NULL, &free_lines);
	free_lines(lines);
	return text.at;
}

const char *config_edit(Pool *pool, const char *path, const char *text, const char *quantization, CmprtError *error)
{
	const char *value = indent_value(pool, path, quantization, error);
	if (!value)
		return NULL;
	text = text ? text : "{\n}\n";
	json_error_t reason;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &reason);
	if (!root) {
		error_set(error, path, "config.json is not good JSON at byte %d: %s", reason.position, reason.text);
		return NULL;
	}
	bool is_object = json_is_object(root);
	json_decref(root);
	if (!is_object) {
		error_set(error, path, "config.json is not a JSON object");
		return NULL;
	}
	Place place = find_member(text, member_name);
	const char *open = skip_spaces(text) + 1, *from = place.begin ? place.begin : place.last ? place.last : open;
	Bytes edited = {pool, NULL, 0, 0};
	bytes_append(&edited, text, (size_t)(from - text));
	if (!place.begin)
		bytes_printf(&edited, "%s\n  \"%s\": ", place.last ? "," : "", member_name);
	bytes_text(&edited, value);
	bytes_text(&edited, place.begin ? place.end : from);
	return edited.at;
}
