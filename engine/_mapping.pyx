"""A ring's file and its double mapping, and the memoryviews that keep the mapping in place while anyone holds them."""

import fcntl
import os

from engine.errors import RingError

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE
from libc.errno cimport errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ,
    PROT_WRITE, mmap, munmap,
)
from posix.unistd cimport close as close_fd


cdef extern from "Python.h":
    object PyMemoryView_FromObject(object exporter)


cdef str _file_path(name, directory):
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise RingError("not a name for a ring", name=repr(name))
    return os.path.join(directory, name)


cdef Mapping create_file(name, directory, size_t header_bytes, size_t data_bytes, bint prefault, data):
    """A new file, all its bytes allocated, and mapped; without a name it is in no directory. data: path of another for them."""
    cdef Mapping mapping = Mapping.__new__(Mapping)
    mapping.path = "" if name is None else _file_path(name, directory)
    try:
        if name is None:
            mapping.fd = os.memfd_create("binlog-engine", os.MFD_CLOEXEC)
        else:
            mapping.fd = os.open(mapping.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise RingError("ring exists", path=mapping.path, remedy="attach to it, or unlink it first") from None
    except OSError as error:
        raise RingError("ring can't be made", path=mapping.path, error=error.strerror) from error
    try:
        os.posix_fallocate(mapping.fd, 0, header_bytes + (0 if data else data_bytes))  # an error now, not a SIGBUS later
        mapping.map(header_bytes, data_bytes, prefault, data)
    except BaseException as error:
        if mapping.path:
            os.unlink(mapping.path)
        if not isinstance(error, OSError):
            raise
        raise RingError("no room for the ring", path=mapping.path or "memory", bytes=header_bytes + data_bytes,
                        error=error.strerror,
                        remedy="make the ring smaller or its file system larger (docker: --shm-size)") from error
    return mapping


cdef Mapping open_file(name, directory):
    """A file that exists, not mapped yet."""
    cdef Mapping mapping = Mapping.__new__(Mapping)
    mapping.path = _file_path(name, directory)
    try:
        mapping.fd = os.open(mapping.path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise RingError("no such ring", path=mapping.path, remedy="start what makes it first") from None
    except OSError as error:
        raise RingError("ring can't be opened", path=mapping.path, error=error.strerror) from error
    return mapping


cdef int _open_data(path, size_t data_bytes) except -1:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise RingError("the ring's data can't be opened", path=path, error=error.strerror) from error
    if os.fstat(fd).st_size != data_bytes:
        size = os.fstat(fd).st_size
        os.close(fd)
        raise RingError("foreign ring", path=path, differs="size", found=size, expected=data_bytes,
                        remedy="the file of the ring's data was changed; restore it")
    return fd


cdef int unlink_file(name, directory) except -1:
    """Missing is fine."""
    try:
        os.unlink(_file_path(name, directory))
    except FileNotFoundError:
        pass
    return 0


@cython.final
@cython.no_gc
cdef class Mapping:
    """Memory shared through a file descriptor."""

    def __cinit__(self):
        self.path = ""
        self.fd = self.data_fd = -1

    def __dealloc__(self):
        self.unmap()  # a pin holds a reference, so there is none
        self.close_data()

    cdef int map(self, size_t header_bytes, size_t data_bytes, bint prefault, data) except -1:
        """data: path of the file that holds the data; None or "": they follow the header."""
        cdef int access = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_FIXED | (MAP_POPULATE if prefault else 0)
        cdef int fd = self.fd
        cdef size_t at = header_bytes
        if data:
            fd, at = _open_data(data, data_bytes), 0
        # One reservation, so that nobody else gets a place in between.
        cdef size_t bytes = header_bytes + 2 * data_bytes
        cdef void *start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        try:
            if start == MAP_FAILED:
                raise RingError("no address space for the ring", bytes=bytes, error=os.strerror(errno))
            self.start = <uint8_t *>start
            self.mapped_bytes = bytes
            if (mmap(start, header_bytes, access, flags, self.fd, 0) == MAP_FAILED
                    or mmap(self.start + header_bytes, data_bytes, access, flags, fd, at) == MAP_FAILED
                    or mmap(self.start + header_bytes + data_bytes, data_bytes, access, flags, fd, at) == MAP_FAILED):
                raise RingError("ring can't be mapped", path=self.path, data=data, bytes=bytes, error=os.strerror(errno))
        finally:
            if data:
                close_fd(fd)
        return 0

    cdef int open_data(self, path, size_t data_bytes, size_t stage_bytes) except -1:
        """What writing needs; once is enough."""
        if self.data_fd < 0:
            self.data_fd = _open_data(path, data_bytes)
            self.stage = <uint8_t *>malloc(stage_bytes)
            if self.stage is NULL:
                self.close_data()
                raise MemoryError
        return 0

    cdef void close_data(self) noexcept:
        if self.data_fd >= 0:
            close_fd(self.data_fd)
            self.data_fd = -1
        free(self.stage)
        self.stage = NULL

    cdef void close(self) noexcept:
        self.closing = True
        self.close_data()
        if self.pins == 0:
            self.unmap()

    cdef void unmap(self) noexcept:
        if self.start is not NULL:
            munmap(self.start, self.mapped_bytes)
            self.start = NULL
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1

    cdef void pin(self) noexcept:
        self.pins += 1

    cdef void unpin(self) noexcept:
        self.pins -= 1
        if self.pins == 0 and self.closing:
            self.unmap()

    cdef int lock(self) except -1:
        """Locks the file against other processes; closing the descriptor it returns, or dying, unlocks it."""
        # A new open file description: one that is shared through fork locks nobody out.
        cdef int fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(fd)
            raise
        return fd

    cdef object export(self, void *start, Py_ssize_t items, Py_ssize_t item_bytes, bint readonly):
        """A memoryview of a piece of it, of bytes or of uint64."""
        cdef _View view = _View.__new__(_View)
        view.mapping = self
        view.start = start
        view.items = items
        view.item_bytes = item_bytes
        view.readonly = readonly
        return PyMemoryView_FromObject(view)


@cython.final
@cython.freelist(16)
@cython.no_gc
cdef class _View:
    """What a memoryview of the mapping holds on to."""
    cdef Mapping mapping
    cdef void *start
    cdef Py_ssize_t items
    cdef Py_ssize_t item_bytes
    cdef bint readonly

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if self.mapping.start is NULL:
            raise BufferError("the ring is closed")
        if self.readonly and flags & PyBUF_WRITABLE:
            raise BufferError("records are read-only")
        buffer.buf = self.start
        buffer.obj = self
        buffer.len = self.items * self.item_bytes
        buffer.readonly = self.readonly
        buffer.itemsize = self.item_bytes
        buffer.format = b"Q" if self.item_bytes == 8 else b"B"
        buffer.ndim = 1
        buffer.shape = &self.items
        buffer.strides = &self.item_bytes
        buffer.suboffsets = NULL
        buffer.internal = NULL
        self.mapping.pin()

    def __releasebuffer__(self, Py_buffer *buffer):
        self.mapping.unpin()
