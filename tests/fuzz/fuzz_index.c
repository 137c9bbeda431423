/* SPDX-License-Identifier: MIT
 *
 * fuzz_index.c: any bytes as model.safetensors.index.json of a folder with two
 * good files; the same bytes are its config.json.
 */
#include "fuzz_formats.h"

#include <fcntl.h>

static char folder[] = "/tmp/fuzz_index.XXXXXX";
static const char *const names[] = {"model.safetensors.index.json", "config.json", "x.safetensors", "y.safetensors"};

static int create(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	if (fd < 0)
		abort();
	return fd;
}

static void remove_folder(void)
{
	char path[128];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static void write_tensor(const char *file, char name)
{
	char text[128] = "";
	int length =
		snprintf(text + 8, sizeof text - 8, "{\"%c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
	text[0] = (char)length;
	int fd = create(file);
	fill_file(fd, (const uint8_t *)text, (size_t)length + 9);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int index = -1, config = -1;
	if (index < 0) {
		if (!mkdtemp(folder))
			abort();
		atexit(remove_folder);
		write_tensor("x.safetensors", 'a');
		write_tensor("y.safetensors", 'b');
		index = create("model.safetensors.index.json");
		config = create("config.json");
	}
	fill_file(index, data, size);
	fill_file(config, data, size);
	open_and_check("safetensors", folder, true);
	return 0;
}
